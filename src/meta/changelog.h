// The change log of format 1.4 (docs/format/encodings.md section 17): a line of text for every change, stored by the
// change's own transaction. Costs one look at a flag while it is off.
//
//   1796063468.157824460|CREATE(1,d,0,0,2,511,18,,linux,true):2|(1,4)
//   time of the change  |operation(arguments)[:result]         |(session, how many lines this process wrote before)
#pragma once

#include <atomic>
#include <concepts>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "meta/txn.h"

namespace zest::meta {

struct State;

class ChangeLog {
 public:
  // Refers to texts: for the length of a call.
  class Arg {
   public:
    Arg(bool v) : value_(v) {}
    Arg(std::integral auto v)
        : value_(static_cast<std::conditional_t<std::is_signed_v<decltype(v)>, int64_t, uint64_t>>(v)) {}
    Arg(Ino v) : value_(raw(v)) {}
    Arg(SliceId v) : value_(raw(v)) {}
    Arg(std::string_view v) : value_(v) {}
    Arg(const std::string& v) : value_(std::string_view(v)) {}
    Arg(const char* v) : value_(std::string_view(v)) {}
    void write(std::string& out) const;

   private:
    std::variant<bool, int64_t, uint64_t, std::string_view> value_;
  };

  // sid: where the session's id will stand.
  explicit ChangeLog(const std::atomic<uint64_t>& sid) : sid_(sid) {}
  void switch_on(bool on) { on_ = on; }
  bool on() const { return on_.load(std::memory_order_relaxed); }

  // Adds a line to what the transaction writes; `at` is the time that the change gives the inode.
  void add(Txn& txn, Time at, std::string_view op, std::initializer_list<Arg> args) {
    if (on()) write(txn, sid_, at, op, args, {});
  }
  void add(Txn& txn, Time at, std::string_view op, std::initializer_list<Arg> args, Arg result) {
    if (on()) write(txn, sid_, at, op, args, {&result, 1});
  }
  // For calls whose arguments are worth putting together only when on(). Several results are separated by commas.
  void write(Txn& txn, uint64_t sid, Time at, std::string_view op, std::span<const Arg> args,
             std::span<const Arg> results);

 private:
  const std::atomic<uint64_t>& sid_;
  std::atomic<bool> on_{false};
  std::atomic<uint64_t> lines_{0};
};

// A directory's statistics were counted anew.
void log_dir_stat(State& state, Txn& txn, Ino dir, const DirStat& stat);

// A line taken apart; texts as they were before they were escaped.
struct LogEntry {
  Time at;
  std::string op;
  std::vector<std::string> args, results;
  uint64_t sid = 0, number = 0;
};
std::optional<LogEntry> parse_log_line(std::string_view line);

// Reads the log on and on from a version.
class LogTail {
 public:
  LogTail(Engine& engine, const Clock& clock, int64_t first) : engine_(engine), clock_(clock), next_(first) {}
  // The next lines, in order; none: nothing new yet. A version that is missing may belong to a commit under way: it is
  // waited for, a little.
  Result<std::vector<LogLine>> next();

 private:
  Engine& engine_;
  const Clock& clock_;
  int64_t next_;                         // version
  std::optional<int64_t> gap_since_ms_;  // since when next_ is missing
};

// Removes lines that are older than the volume's settings allow, and those over their number. Gives how many versions
// were passed over.
Result<uint64_t> trim_change_log(State& state, const std::atomic<bool>& stopping);

}  // namespace zest::meta
