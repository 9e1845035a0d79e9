#include "meta/ids.h"

#include <algorithm>

#include "meta/state.h"

namespace zest::meta {

Result<uint64_t> IdRange::next() {
  // Inode 1 is the root and 0 none; slice 0 stands for zeroes.
  const uint64_t least = counter_ == counter::kNextInode ? 2 : 1;
  std::unique_lock lock(mutex_);
  while (next_ >= end_) {
    if (refilling_) {
      refilled_.wait(lock);
      continue;
    }
    refilling_ = true;
    lock.unlock();
    Calling::Engine asking;
    auto top = state_.add_counter(counter_, static_cast<int64_t>(batch_));
    lock.lock();
    refilling_ = false;
    refilled_.notify_all();
    if (!top) return fail(std::move(top.error()));
    if (*top < static_cast<int64_t>(batch_)) return fail(EIO, "counter " + counter_ + " is negative");
    const auto end = static_cast<uint64_t>(*top);
    next_ = std::max(end - batch_, least);
    end_ = end;
  }
  return next_++;
}

}  // namespace zest::meta
