// The calls of the metadata that operations make, counted under the names that metrics give them
// (docs/behaviour/metrics.md, "method values").
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/histogram.h"
#include "base/shards.h"
#include "base/spent.h"

namespace zest::meta {

enum class Call : uint8_t {
  kStatFs,
  kLookup,
  kResolve,
  kGetAttr,
  kSetAttr,
  kMknod,  // and create, mkdir, symlink
  kLink,
  kReadLink,
  kUnlink,
  kRmdir,
  kRename,
  kRead,
  kWrite,
  kTruncate,
  kFallocate,
  kCopyFileRange,
  kReaddir,
  kNewDirHandler,
  kSetXattr,
  kGetXattr,
  kListXattr,
  kRemoveXattr,
  kClone,
  kSetFacl,
  kGetFacl,
  kOther,  // background work; only its lost races are counted
};
constexpr size_t kCalls = 26;
const char* name_of(Call call);  // "StatFS", "Lookup", ...

class CallStats {
 public:
  // Of one thread, or added up.
  struct Counts {
    struct PerCall {
      std::atomic<uint64_t> count{0}, ns{0}, restarts{0};
    };
    std::array<PerCall, kCalls> calls;
    // Calls that reached the engine; runs of transactions that may write, with their retries and pauses.
    Histogram call_seconds{0.0001, 1.5, 30}, txn_seconds{0.0001, 1.5, 30};
  };
  void ended(Call call, int64_t ns);
  void wrote(int64_t ns) { counts_.mine().txn_seconds.add(static_cast<double>(ns) / 1e9); }
  void lost_race(Call call) {
    counts_.mine().calls[static_cast<size_t>(call)].restarts.fetch_add(1, std::memory_order_relaxed);
  }
  void sum(Counts& into) const;

 private:
  Sharded<Counts> counts_;
};

// A call that this thread makes, while in scope. It is counted if the engine was asked anything; a call within another
// belongs to that one.
class Calling {
 public:
  Calling(CallStats& stats, Call call);
  ~Calling();
  Calling(const Calling&) = delete;

  // Around every question to the engine.
  class Engine {
   public:
    Engine();

   private:
    Waiting waiting_{Part::kMeta};
  };
  static Call current();  // kOther: none

 private:
  CallStats& stats_;
  const Call call_;
  const bool nested_;
  bool reached_ = false;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace zest::meta
