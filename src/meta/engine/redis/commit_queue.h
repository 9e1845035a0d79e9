// Commits of many threads on their way to the server: those that arrive while others are under way go together in one
// call of the commit script, each succeeding or failing on its own.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "meta/engine/redis/client.h"
#include "meta/engine/redis/commit.h"

namespace zest::meta::redis {

class CommitQueue {
 public:
  explicit CommitQueue(Client& client) : client_(client) {}

  // Carries out a commit and gives the script's answer to it. `queued` is called once its place among the commits of
  // this client is certain: they are carried out in the order in which they come here. Errors as of Client::eval.
  Result<Reply> submit(const Commit& commit, const std::function<void()>& queued);

 private:
  struct Waiter {
    const Commit* commit;
    bool sent = false;
    std::optional<Result<Reply>> answer = {};
    std::condition_variable wake = {};
  };
  using Lock = std::unique_lock<std::mutex>;
  bool may_send() const;
  void send_batch(Lock& lock);

  Client& client_;
  std::mutex mutex_;
  std::deque<Waiter*> waiting_;
  int under_way_ = 0;
  bool sending_ = false;  // a call has not got its place on the connection yet
  int64_t last_sent_ms_ = 0;
};

}  // namespace zest::meta::redis
