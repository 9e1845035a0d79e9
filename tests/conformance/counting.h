// An engine that counts the round trips of what it wraps.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "meta/txn.h"

namespace zest::conformance {

struct RoundTrips {
  std::atomic<int> fetches{0}, commits{0}, others{0};
  int total() const { return fetches + commits + others; }
  std::string text() const {
    return std::to_string(fetches) + " fetches, " + std::to_string(commits) + " commits, " + std::to_string(others) +
           " others";
  }
  void clear() { fetches = commits = others = 0; }
};

// `count` must outlive the engine.
std::unique_ptr<meta::Engine> counted(std::unique_ptr<meta::Engine> engine, RoundTrips& count);

}  // namespace zest::conformance
