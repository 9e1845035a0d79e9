#include "front/fuse/listeners.h"

#include "base/spent.h"

namespace zest::fuse {

void Listeners::start() {
  std::lock_guard lock(mutex_);
  stopped_ = false;
  listen_elsewhere();
}

void Listeners::stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  wake_.notify_all();
}

void Listeners::join() {
  std::unique_lock lock(mutex_);
  gone_.wait(lock, [&] { return threads_ == 0; });
}

bool Listeners::join_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return gone_.wait_for(lock, time, [&] { return threads_ == 0; });
}

size_t Listeners::listening() {
  std::lock_guard lock(mutex_);
  return listening_;
}

// Whoever begins is counted here already, so that nobody starts another for the same reason.
void Listeners::listen_elsewhere() {
  if (listening_ > 0) return;
  if (standing_by_ > called_) {
    called_++;
    listening_++;
    wake_.notify_one();
  } else if (threads_ < max_) {
    threads_++;
    listening_++;
    spawn_();
  }
}

void Listeners::stand_by(std::unique_lock<std::mutex>& lock) {
  standing_by_++;
  uint64_t seen = requests_;
  while (!wake_.wait_for(lock, kStandby, [&] { return called_ > 0 || stopped_; })) {
    if (requests_ == seen) break;
    seen = requests_;
  }
  standing_by_--;
  if (called_ > 0)
    called_--;
  else
    listening_++;
}

void Listeners::Worker::received(bool quick, std::chrono::nanoseconds waited) {
  waited_ = waited > kAtOnce;
  promptly_ = waited <= kSoon;
  auto now = std::chrono::steady_clock::now();
  std::lock_guard lock(all_.mutex_);
  // It may have come at any time since somebody listened.
  note_queued(waited_ || all_.deaf_since_ == Moment() ? 0 : (now - all_.deaf_since_).count());
  all_.listening_--;
  all_.deaf_since_ = all_.listening_ == 0 ? now : Moment();
  all_.requests_++;
  quick_ = quick && (all_.standing_by_ > 0 || all_.listening_ > 0);
  if (!quick) all_.quick_row_ = 0;
  if (!quick_) return all_.listen_elsewhere();
  all_.quick_row_++;
  all_.busy_row_ = waited_ ? 0 : all_.busy_row_ + 1;
  if (all_.busy_row_ >= kBusyRow) {  // more than one thread can do
    all_.busy_row_ = 0;
    all_.listen_elsewhere();
  }
  set_wait_notice(this);
}

void Listeners::Worker::about_to_wait() {
  set_wait_notice(nullptr);
  std::lock_guard lock(all_.mutex_);
  quick_ = false;
  all_.quick_row_ = 0;
  all_.listen_elsewhere();
}

bool Listeners::Worker::served() {
  set_wait_notice(nullptr);
  soon_ = false;
  std::unique_lock lock(all_.mutex_);
  if (all_.listening_ + all_.standing_by_ - all_.called_ >= all_.idle_) {
    all_.threads_--;
    return false;
  }
  if (quick_ && waited_ && all_.listening_ > 0 && all_.quick_row_ >= kQuickRow && !all_.stopped_)
    all_.stand_by(lock);
  else
    soon_ = ++all_.listening_ == 1 && quick_ && promptly_;
  return true;
}

void Listeners::Worker::left() {
  std::lock_guard lock(all_.mutex_);
  all_.listening_--;
  if (--all_.threads_ == 0) all_.gone_.notify_all();
}

}  // namespace zest::fuse
