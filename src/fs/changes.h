// What was changed here lately, so that a listing fetched a moment ago does not give out entries and attributes that
// this mount has changed since. Remembered only while directories are open; bounded.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>

#include "volume/types.h"

namespace zest::fs {

class Changes {
 public:
  enum class Name { kUnchanged, kRemoved, kAdded, kUnknown };

  // A point in time, to compare with later.
  uint64_t now() const { return seq_.load(std::memory_order_acquire); }
  void watch() { watchers_.fetch_add(1, std::memory_order_acq_rel); }
  void unwatch() { watchers_.fetch_sub(1, std::memory_order_acq_rel); }

  void inode(Ino ino);
  void name(Ino parent, std::string_view name, bool added);

  // Since `since`: may attributes of the inode have changed?
  bool inode_changed(Ino ino, uint64_t since) const;
  // Since `since`: what happened last to the name. kUnknown: too long ago to tell.
  Name name_changed(Ino parent, std::string_view name, uint64_t since) const;

 private:
  struct Record {
    uint64_t seq;
    Ino ino;
    std::string name;  // empty: the inode itself
    bool added;
  };
  void push(Ino ino, std::string_view name, bool added);
  static constexpr size_t kLimit = 4096;
  mutable std::mutex mutex_;
  std::deque<Record> records_;
  uint64_t forgotten_ = 0;  // changes up to this one may be missing
  std::atomic<uint64_t> seq_{1};
  std::atomic<int> watchers_{0};
};

}  // namespace zest::fs
