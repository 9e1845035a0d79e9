// One redis-server for all tests of the process, started when first asked for.
#include <memory>

#include "engines.h"
#include "meta/engine/redis/test_server.h"

namespace zest::meta {

std::string fresh_redis_url() {
  static redis::TestServer server;
  return server.fresh_url();
}

}  // namespace zest::meta
