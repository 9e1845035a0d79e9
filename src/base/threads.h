// Bounded pools of plain threads, and a periodic job. No globals: who needs one is handed it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace zest {

// At most `threads` threads, started when first needed, named `name` (15 characters at most). The queue is bounded by
// queue_limit: submit() waits for room, try_submit() gives false. Tasks must not throw. The destructor runs what is
// queued, then joins.
class ThreadPool {
 public:
  ThreadPool(std::string name, size_t threads, size_t queue_limit);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;

  void submit(std::function<void()> task);
  bool try_submit(std::function<void()> task);
  void drain();  // waits until nothing is queued or running
  size_t queued() const;

 private:
  void work();
  void spawn_if_needed();  // with mutex_ held
  const std::string name_;
  const size_t limit_, queue_limit_;
  mutable std::mutex mutex_;
  std::condition_variable wake_, room_, idle_;
  std::deque<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
  size_t running_ = 0, waiting_ = 0;
  bool stop_ = false;
};

// Calls `job` every period_ms (each wait varied by +-5 %) on a thread of its own until stop() or destruction, both of
// which wait for a running call. wake() makes the next call happen now.
class Periodic {
 public:
  Periodic(std::string name, int64_t period_ms, std::function<void()> job);
  ~Periodic();
  void wake();
  void stop();

 private:
  void run();
  const std::string name_;
  const int64_t period_ms_;
  std::function<void()> job_;
  std::mutex mutex_;
  std::condition_variable wake_up_;
  bool stop_ = false, now_ = false;
  std::thread thread_;
};

void name_this_thread(const std::string& name);

}  // namespace zest
