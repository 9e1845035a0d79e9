// Ids from a local range, refilled from the database's counter (encodings.md section 6). Unused ones are lost.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

#include "meta/txn.h"

namespace zest::meta {

struct State;

class IdRange {
 public:
  IdRange(State& state, std::string counter, uint64_t batch)
      : state_(state), counter_(std::move(counter)), batch_(batch) {}
  // The next id, never 0 or 1 for inodes (min). One thread refills while the others wait. [0, one in `batch` 1]
  Result<uint64_t> next();

 private:
  State& state_;
  const std::string counter_;
  const uint64_t batch_;
  std::mutex mutex_;
  std::condition_variable refilled_;
  bool refilling_ = false;
  uint64_t next_ = 0, end_ = 0;
};

}  // namespace zest::meta
