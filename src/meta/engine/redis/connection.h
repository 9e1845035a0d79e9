// One connection that many threads share: their requests go out one behind the other, replies are matched in order.
//
// No thread of its own. A thread that waits for replies reads for all while nobody else does, so that a lone caller
// pays no switch of threads; a thread that sends also sends what others put in the queue meanwhile.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "meta/engine/redis/resp.h"
#include "meta/engine/redis/stream.h"

namespace zest::meta::redis {

class Connection {
 public:
  Connection(std::unique_ptr<Stream> stream, int64_t read_timeout_ms, int64_t write_timeout_ms)
      : stream_(std::move(stream)), read_timeout_ms_(read_timeout_ms), write_timeout_ms_(write_timeout_ms) {}

  // One reply for each command, error replies included. kUnavailable: nothing was sent; kUnknownOutcome: the connection
  // broke, or no answer came in time, after some of it may have been. Any thread. `queued` is called once they have
  // their place: what is given to this connection later is carried out later.
  Result<std::vector<Reply>> exchange(const Pipeline& requests, const std::function<void()>& queued = {});

  // For a connection of one thread's own: hears what the server sends unasked, which `on_push` gets. False: nothing
  // came.
  void on_push(std::function<void(const Reply&)> handler) { on_push_ = std::move(handler); }
  Result<bool> wait_for_pushes(int64_t timeout_ms);

  bool broken() const;
  size_t waiting() const;  // callers whose replies are outstanding
  void give_up();          // breaks it: all waiting calls fail

 private:
  struct Waiter {
    size_t expected;
    std::vector<Reply> replies;
    bool done = false;
    std::optional<Error> error;
    std::condition_variable wake;
  };
  using Lock = std::unique_lock<std::mutex>;
  void flush(Lock& lock);
  void read_until_done(Lock& lock, Waiter& mine);
  void deliver(Waiter& mine);
  void fail_all(const Error& error);

  const std::unique_ptr<Stream> stream_;
  const int64_t read_timeout_ms_, write_timeout_ms_;
  mutable std::mutex mutex_;
  std::deque<Waiter*> queue_;
  std::string out_;
  bool writing_ = false, reading_ = false, broken_ = false;
  int64_t last_used_ms_ = 0;
  ReplyParser parser_;  // of whoever reads
  std::function<void(const Reply&)> on_push_;
};

}  // namespace zest::meta::redis
