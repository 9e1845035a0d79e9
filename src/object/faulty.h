// A storage that fails as told, for the tests of everything above it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "object/storage.h"

namespace zest::object {

// What the calls of a Faulty shall suffer; shared with the test, thread safe, may be changed at any time. `calls` is a
// set of kGet | kPut ...; get_into counts as get, remove_many as one remove for each key.
class Faults {
 public:
  static constexpr unsigned kHead = 1, kGet = 2, kPut = 4, kCopy = 8, kRemove = 16, kList = 32, kMultipart = 64,
                            kSync = 128, kAll = 255;
  static constexpr int kForever = -1;

  // The next `count` of these calls fail and do nothing: a storm of errors, or an outage with kForever.
  void fail_next(unsigned calls, int count, Error error = {EIO, Fault::kUnavailable, "injected"});
  // The next `count` of these calls are carried out, but report kUnknownOutcome.
  void lose_replies(unsigned calls, int count);
  // These calls fail at random, `percent` of them; half of the failures are carried out first.
  void fail_randomly(unsigned calls, int percent, uint64_t seed);
  // Calls on these keys fail, until the set is replaced. A key ending '*' stands for all that begin so.
  void fail_keys(std::set<std::string> keys, Error error = {EIO, Fault::kUnavailable, "injected"});
  // The next `count` gets succeed, but give half of the bytes, or bytes of which one is wrong.
  void shorten_bodies(int count);
  void corrupt_bodies(int count);
  // Each of these calls takes so much longer.
  void delay(unsigned calls, int64_t ms);
  size_t most_delayed() const;  // at once, so far
  // These calls wait (before they do anything) until release(). wait_held: until `count` calls wait; false on timeout.
  void hold(unsigned calls);
  void release();
  bool wait_held(size_t count, int64_t timeout_ms = 60'000);
  // No faults any more; calls held go on. Counters stay.
  void clear();

  // Calls that arrived, those that failed by injection included.
  uint64_t count(unsigned calls) const;
  uint64_t bytes_put() const { return bytes_put_; }
  uint64_t bytes_got() const { return bytes_got_; }

 private:
  friend class Faulty;
  struct Verdict {
    bool act = true;  // carry it out
    bool failed = false;
    Error error;
  };
  Verdict judge(unsigned call, const std::string& key);
  void spoil(std::string& body);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  unsigned fail_calls_ = 0, lose_calls_ = 0, random_calls_ = 0, delay_calls_ = 0, hold_calls_ = 0;
  int fail_left_ = 0, lose_left_ = 0, random_percent_ = 0, short_left_ = 0, corrupt_left_ = 0;
  Error fail_error_, key_error_;
  std::set<std::string> keys_;
  uint64_t random_ = 0;
  int64_t delay_ms_ = 0;
  size_t held_ = 0, delayed_ = 0, most_delayed_ = 0;
  uint64_t counts_[8] = {};
  std::atomic<uint64_t> bytes_put_{0}, bytes_got_{0};
};

std::unique_ptr<Storage> with_faults(std::unique_ptr<Storage> inner, std::shared_ptr<Faults> faults);

}  // namespace zest::object
