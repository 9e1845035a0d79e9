// The engines that the contract tests run on. Each gives URLs of volumes nobody else uses.
#pragma once

#include <functional>
#include <ostream>
#include <string>

namespace zest::meta {

struct EngineUnderTest {
  std::string name;
  std::function<std::string()> fresh_url;
};
inline void PrintTo(const EngineUnderTest& engine, std::ostream* out) { *out << engine.name; }

std::string fresh_memory_url();
std::string fresh_sqlite_url();  // its file goes with the process
std::string fresh_redis_url();   // on a server of this process

}  // namespace zest::meta
