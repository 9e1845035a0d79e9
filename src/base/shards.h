// Counters that many threads add to: each thread has its own copy (a few share one when there are very many threads),
// so that adding never waits for another CPU. Who wants the sum adds the copies up.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

namespace zest {

constexpr size_t kShards = 16;
size_t shard_of_this_thread();

// T consists of atomics or is thread safe in another way.
template <class T>
class Sharded {
 public:
  T& mine() { return shards_[shard_of_this_thread()].value; }
  template <class Each>
  void each(Each&& each) const {
    for (auto& shard : shards_) each(shard.value);
  }

 private:
  struct alignas(64) Shard {
    T value;
  };
  std::array<Shard, kShards> shards_;
};

}  // namespace zest
