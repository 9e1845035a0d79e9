// The keys of docs/format/redis.md: redis://, rediss://, unix://.
#pragma once

#include <memory>
#include <string>

#include "meta/txn.h"

namespace zest::meta {

Result<std::unique_ptr<Engine>> open_redis_engine(const std::string& url, const EngineOptions& options);

}  // namespace zest::meta
