// The keys of docs/format/redis.md: redis://, rediss://, unix://.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "meta/txn.h"

namespace zest::meta::redis {

// Connects, and refuses a server that is too old. EINVAL for a malformed URL, kUnavailable when nothing answers.
Result<std::unique_ptr<Engine>> open_redis(const std::string& url, const EngineOptions& options);

// Round trips that an engine of open_redis() made so far, those of connecting included; 0 for other engines.
uint64_t round_trips(const Engine& engine);

}  // namespace zest::meta::redis
