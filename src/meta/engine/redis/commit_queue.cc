#include "meta/engine/redis/commit_queue.h"

#include <chrono>

#include "base/clock.h"
#include "meta/engine/redis/scripts.h"

namespace zest::meta::redis {

namespace {

constexpr size_t kMostCommits = 32, kMostArgs = 8000;  // of one call: Redis does nothing else meanwhile
constexpr int64_t kPatienceMs = 1;  // a distant server: so long after the last call the next one goes out

}  // namespace

bool CommitQueue::may_send() const {
  return !sending_ && (under_way_ == 0 || system_clock().monotonic_ms() - last_sent_ms_ > kPatienceMs);
}

Result<Reply> CommitQueue::submit(const Commit& commit, const std::function<void()>& queued) {
  Waiter mine{&commit};
  Lock lock(mutex_);
  waiting_.push_back(&mine);
  queued();
  while (!mine.answer) {
    if (!mine.sent && may_send())
      send_batch(lock);
    else if (mine.sent)
      mine.wake.wait(lock);
    else
      mine.wake.wait_for(lock, std::chrono::milliseconds(kPatienceMs));
  }
  return std::move(*mine.answer);
}

// The commits that wait, as many as go together.
void CommitQueue::send_batch(Lock& lock) {
  std::vector<Waiter*> batch;
  std::vector<std::string> keys, args;
  size_t size = 0;
  do {
    batch.push_back(waiting_.front());
    waiting_.pop_front();
    batch.back()->sent = true;
    size += batch.back()->commit->args().size();
  } while (!waiting_.empty() && batch.size() < kMostCommits &&
           size + waiting_.front()->commit->args().size() < kMostArgs);
  under_way_++;
  sending_ = true;
  lock.unlock();
  bool placed = false;
  auto queued = [&] {
    Lock again(mutex_);
    placed = true;
    sending_ = false;
    last_sent_ms_ = system_clock().monotonic_ms();
  };
  Result<Reply> reply = fail(EIO);
  if (batch.size() == 1) {
    reply = client_.eval(commit_script(), batch[0]->commit->keys(), batch[0]->commit->args(), Client::Repeat::kNever,
                         Client::Lane::kOrdered, queued);
  } else {
    for (const Waiter* waiter : batch) {
      keys.insert(keys.end(), waiter->commit->keys().begin(), waiter->commit->keys().end());
      args.insert(args.end(), waiter->commit->args().begin(), waiter->commit->args().end());
    }
    reply = client_.eval(commit_script(), keys, args, Client::Repeat::kNever, Client::Lane::kOrdered, queued);
  }
  if (reply && (!reply->is_array() || reply->items.size() != batch.size()))
    reply = fail(EPROTO, "Redis: unexpected answer to a commit");
  lock.lock();
  if (!placed) sending_ = false;
  under_way_--;
  for (size_t i = 0; i < batch.size(); i++) {
    if (!reply)
      batch[i]->answer = fail(Error(reply.error()));
    else if (reply->items[i].is_error())
      batch[i]->answer = fail(error_of(reply->items[i]));
    else
      batch[i]->answer = std::move(reply->items[i]);
    batch[i]->wake.notify_one();
  }
  if (!waiting_.empty()) waiting_.front()->wake.notify_one();
}

}  // namespace zest::meta::redis
