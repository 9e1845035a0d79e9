// Sorts any number of small records in bounded memory: what does not fit goes, sorted, to an unnamed temporary file
// (in TMPDIR, else /tmp) and is merged while it is read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <queue>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace zest {

// A temporary file without a name: it is gone when this is. One thread.
class SpillFile {
 public:
  SpillFile() = default;
  ~SpillFile();
  SpillFile(const SpillFile&) = delete;
  Result<void> append(const void* bytes, size_t size);  // made at the first call
  Result<void> read(uint64_t offset, void* into, size_t size) const;
  uint64_t size() const { return size_; }

 private:
  int fd_ = -1;
  uint64_t size_ = 0;
};

// T has an operator< and no pointers. Not thread safe. add() all, then next() until it gives nothing.
template <class T>
class ExternalSort {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr size_t kDefaultMemory = 64 << 20;
  explicit ExternalSort(size_t memory_bytes = kDefaultMemory) : room_(std::max<size_t>(memory_bytes / sizeof(T), 16)) {}

  Result<void> add(const T& record) {
    if (buffer_.size() == room_) ZEST_TRY(spill());
    buffer_.push_back(record);
    count_++;
    return {};
  }

  uint64_t count() const { return count_; }

  // The records in order.
  Result<std::optional<T>> next() {
    if (!reading_) ZEST_TRY(start());
    if (runs_.empty()) return at_ < buffer_.size() ? std::optional<T>(buffer_[at_++]) : std::nullopt;
    if (heads_.empty()) return std::optional<T>();
    auto [record, run] = heads_.top();
    heads_.pop();
    ZEST_TRY(push_head(run));
    return std::optional<T>(record);
  }

 private:
  struct Run {
    uint64_t offset, end;  // of what was not read yet, in the file
    std::vector<T> page;
    size_t at = 0;
  };
  struct Head {
    T record;
    size_t run;
    friend bool operator<(const Head& a, const Head& b) { return b.record < a.record; }  // the smallest on top
  };
  static constexpr size_t kPage = 4096;

  Result<void> spill() {
    std::sort(buffer_.begin(), buffer_.end());
    uint64_t begin = file_.size();
    ZEST_TRY(file_.append(buffer_.data(), buffer_.size() * sizeof(T)));
    runs_.push_back({begin, file_.size(), {}, 0});
    buffer_.clear();
    return {};
  }

  Result<void> start() {
    reading_ = true;
    if (runs_.empty()) {
      std::sort(buffer_.begin(), buffer_.end());
      return {};
    }
    if (!buffer_.empty()) ZEST_TRY(spill());
    buffer_ = {};
    for (size_t run = 0; run < runs_.size(); run++) ZEST_TRY(push_head(run));
    return {};
  }

  Result<void> push_head(size_t index) {
    auto& run = runs_[index];
    if (run.at == run.page.size()) {
      size_t left = (run.end - run.offset) / sizeof(T);
      run.page.resize(std::min(left, kPage));
      run.at = 0;
      if (run.page.empty()) return {};
      ZEST_TRY(file_.read(run.offset, run.page.data(), run.page.size() * sizeof(T)));
      run.offset += run.page.size() * sizeof(T);
    }
    heads_.push({run.page[run.at++], index});
    return {};
  }

  const size_t room_;
  std::vector<T> buffer_;
  uint64_t count_ = 0;
  size_t at_ = 0;
  bool reading_ = false;
  SpillFile file_;
  std::vector<Run> runs_;
  std::priority_queue<Head> heads_;
};

}  // namespace zest
