#include "base/shards.h"

namespace zest {

size_t shard_of_this_thread() {
  static std::atomic<size_t> next{0};
  static thread_local const size_t mine = next.fetch_add(1, std::memory_order_relaxed) % kShards;
  return mine;
}

}  // namespace zest
