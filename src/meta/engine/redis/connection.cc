#include "meta/engine/redis/connection.h"

#include "base/clock.h"

namespace zest::meta::redis {

namespace {
constexpr int64_t kIdleCheckMs = 1000;  // servers and firewalls drop idle connections: look before using one
}

Result<std::vector<Reply>> Connection::exchange(const Pipeline& requests, const std::function<void()>& queued) {
  Waiter mine;
  mine.expected = requests.commands();
  if (mine.expected == 0) return std::vector<Reply>();
  Lock lock(mutex_);
  int64_t now_ms = system_clock().monotonic_ms();
  if (!broken_ && queue_.empty() && !writing_ && now_ms - last_used_ms_ > kIdleCheckMs && stream_->stale())
    broken_ = true;
  last_used_ms_ = now_ms;
  if (broken_) return fail(EIO, Fault::kUnavailable, "Redis: the connection is closed");
  queue_.push_back(&mine);
  out_ += requests.bytes();
  if (queued) queued();
  if (!writing_) flush(lock);
  while (!mine.done) {
    if (!reading_)
      read_until_done(lock, mine);
    else
      mine.wake.wait(lock);
  }
  if (mine.error) return fail(std::move(*mine.error));
  return std::move(mine.replies);
}

void Connection::flush(Lock& lock) {
  writing_ = true;
  while (!out_.empty() && !broken_) {
    std::string bytes;
    bytes.swap(out_);
    lock.unlock();
    auto sent = stream_->write_all(bytes, write_timeout_ms_);
    lock.lock();
    if (!sent) fail_all(sent.error());
  }
  writing_ = false;
}

void Connection::read_until_done(Lock& lock, Waiter& mine) {
  reading_ = true;
  std::string bytes;
  while (!mine.done) {
    bytes.clear();
    lock.unlock();
    auto got = stream_->read_some(bytes, read_timeout_ms_);
    lock.lock();
    if (broken_) break;
    if (!got) {
      fail_all(got.error());
      break;
    }
    parser_.feed(bytes);
    deliver(mine);
  }
  reading_ = false;
  if (!queue_.empty()) queue_.front()->wake.notify_one();  // who reads on
}

Result<bool> Connection::wait_for_pushes(int64_t timeout_ms) {
  std::string bytes;
  auto got = stream_->read_some(bytes, timeout_ms);
  Lock lock(mutex_);
  if (broken_) return fail(EIO, Fault::kUnavailable, "Redis: the connection is closed");
  if (!got && got.error().code == ETIMEDOUT) return false;
  if (!got) {
    fail_all(got.error());
    return fail(std::move(got.error()));
  }
  parser_.feed(bytes);
  Waiter nobody;
  deliver(nobody);
  return true;
}

void Connection::deliver(Waiter& mine) {
  for (;;) {
    auto reply = parser_.next();
    if (!reply) return fail_all(reply.error());
    if (!*reply) return;
    if ((*reply)->type == Reply::Type::kPush) {
      if (on_push_) on_push_(**reply);
      continue;
    }
    if (queue_.empty()) return fail_all(Error{EPROTO, Fault::kPlain, "Redis: a reply that nobody asked for"});
    Waiter* first = queue_.front();
    first->replies.push_back(std::move(**reply));
    if (first->replies.size() < first->expected) continue;
    queue_.pop_front();
    first->done = true;
    if (first != &mine) first->wake.notify_one();
  }
}

// With mutex_ held. Whatever was in the queue may have been sent.
void Connection::fail_all(const Error& error) {
  broken_ = true;
  stream_->shut_down();
  out_.clear();
  for (Waiter* waiter : queue_) {
    waiter->error = Error{error.code, Fault::kUnknownOutcome, error.what};
    waiter->done = true;
    waiter->wake.notify_one();
  }
  queue_.clear();
}

bool Connection::broken() const {
  Lock lock(mutex_);
  return broken_;
}

size_t Connection::waiting() const {
  Lock lock(mutex_);
  return queue_.size();
}

void Connection::give_up() {
  Lock lock(mutex_);
  if (!broken_) fail_all(Error{EIO, Fault::kUnavailable, "Redis: the connection was given up"});
}

}  // namespace zest::meta::redis
