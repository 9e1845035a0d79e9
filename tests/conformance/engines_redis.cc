// Redis: one server for all tests of the process, a database of its own for each.
#include "engines.h"
#include "meta/engine/redis/test_server.h"

namespace zest::conformance {
namespace {

class RedisDatabase : public Database {
 public:
  explicit RedisDatabase(std::string url) : url_(std::move(url)) {}
  std::string url() const override { return url_; }

 private:
  const std::string url_;
};

const RegisterEngine kRedis("redis", []() -> std::unique_ptr<Database> {
  static meta::redis::TestServer server;
  return std::make_unique<RedisDatabase>(server.fresh_url());
});

}  // namespace
}  // namespace zest::conformance
