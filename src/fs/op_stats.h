// Counts of operations, by method, and where their time went. Private to fs/.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/histogram.h"
#include "base/shards.h"
#include "base/spent.h"

namespace zest::fs {

// As .stats and the access log name them.
enum class Method : uint8_t {
  kLookup,
  kGetattr,
  kSetattr,
  kMknod,
  kMkdir,
  kCreate,
  kSymlink,
  kLink,
  kUnlink,
  kRmdir,
  kRename,
  kReadlink,
  kOpen,
  kOpendir,
  kReaddir,
  kReleasedir,
  kRead,
  kWrite,
  kRelease,
  kFlush,
  kFsync,
  kFallocate,
  kCopyFileRange,
  kSetxattr,
  kGetxattr,
  kListxattr,
  kRemovexattr,
  kStatfs,
  kGetlk,
  kSetlk,
  kFlock,
  kIoctl,
  kAccess,
  kTmpfile,
  kLseek,
};
constexpr size_t kMethods = 35;
const char* name_of(Method method);

// Counting is for the thread that runs the operation and takes no lock; sums() is for whoever wants to show it.
class OpStats {
 public:
  static constexpr size_t kErrnos = 134;  // larger ones count as the last
  // Of one thread, or added up.
  struct Counts {
    struct PerMethod {
      std::atomic<uint64_t> count{0}, ns{0}, round_trips{0};
      std::array<std::atomic<int64_t>, kParts> part_ns{};
    };
    std::array<PerMethod, kMethods> methods;
    Histogram durations{0.00001, 1.8, 29}, read_sizes{4096, 0, 32}, written_sizes{4096, 0, 32};
    std::array<std::atomic<uint64_t>, kErrnos> errors{};  // by errno
    std::atomic<uint64_t> slow{0};
  };

  void count(Method method, int code, int64_t ns, const Spent& spent);
  void slow() { add(counts_.mine().slow, 1); }
  void read(size_t bytes) { counts_.mine().read_sizes.add(static_cast<double>(bytes)); }
  void written(size_t bytes) { counts_.mine().written_sizes.add(static_cast<double>(bytes)); }
  void sum(Counts& into) const;

  const std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();

 private:
  template <class T>
  static void add(std::atomic<T>& to, std::type_identity_t<T> value) {
    to.fetch_add(value, std::memory_order_relaxed);
  }
  Sharded<Counts> counts_;
};

}  // namespace zest::fs
