#include "base/threads.h"

#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <random>

namespace zest {

void name_this_thread(const std::string& name) { pthread_setname_np(pthread_self(), name.substr(0, 15).c_str()); }

// Signals belong to the main thread: every other one blocks them all.
static void block_signals() {
  sigset_t all;
  sigfillset(&all);
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) sigdelset(&all, fault);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

ThreadPool::ThreadPool(std::string name, size_t threads, size_t queue_limit)
    : name_(std::move(name)), limit_(threads == 0 ? 1 : threads), queue_limit_(queue_limit == 0 ? 1 : queue_limit) {}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void ThreadPool::spawn_if_needed() {
  if (waiting_ < queue_.size() && threads_.size() < limit_) threads_.emplace_back([this] { work(); });
}

void ThreadPool::submit(std::function<void()> task) {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return queue_.size() < queue_limit_; });
  queue_.push_back(std::move(task));
  spawn_if_needed();
  wake_.notify_one();
}

bool ThreadPool::try_submit(std::function<void()> task) {
  std::lock_guard lock(mutex_);
  if (queue_.size() >= queue_limit_) return false;
  queue_.push_back(std::move(task));
  spawn_if_needed();
  wake_.notify_one();
  return true;
}

void ThreadPool::drain() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [&] { return queue_.empty() && running_ == 0; });
}

size_t ThreadPool::queued() const {
  std::lock_guard lock(mutex_);
  return queue_.size();
}

void ThreadPool::work() {
  block_signals();
  name_this_thread(name_);
  std::unique_lock lock(mutex_);
  while (true) {
    waiting_++;
    wake_.wait(lock, [&] { return stop_ || !queue_.empty(); });
    waiting_--;
    if (queue_.empty()) return;  // only when stopping
    auto task = std::move(queue_.front());
    queue_.pop_front();
    running_++;
    room_.notify_one();
    lock.unlock();
    task();
    task = nullptr;  // what it holds is freed outside the lock
    lock.lock();
    running_--;
    if (queue_.empty() && running_ == 0) idle_.notify_all();
  }
}

Periodic::Periodic(std::string name, int64_t period_ms, std::function<void()> job)
    : name_(std::move(name)), period_ms_(period_ms), job_(std::move(job)), thread_([this] { run(); }) {}

Periodic::~Periodic() { stop(); }

void Periodic::wake() {
  {
    std::lock_guard lock(mutex_);
    now_ = true;
  }
  wake_up_.notify_all();
}

void Periodic::stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_up_.notify_all();
  if (thread_.joinable() && thread_.get_id() != std::this_thread::get_id()) thread_.join();
}

void Periodic::run() {
  block_signals();
  name_this_thread(name_);
  std::mt19937_64 random(std::random_device{}());
  std::unique_lock lock(mutex_);
  while (!stop_) {
    auto spread = std::uniform_real_distribution<double>(0.95, 1.05)(random);
    auto wait = std::chrono::duration<double, std::milli>(static_cast<double>(period_ms_) * spread);
    wake_up_.wait_for(lock, wait, [&] { return stop_ || now_; });
    if (stop_) return;
    now_ = false;
    lock.unlock();
    job_();
    lock.lock();
  }
}

}  // namespace zest
