// Runs what may hang (a dead disk does not even fail) on threads of its own, and gives up waiting for it in time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/threads.h"

namespace zest::data {

// Thread safe. Tasks must own all they touch: one that was given up may end after this is gone, and its thread is left
// behind. Threads that have nothing to do for a while end.
class Apart {
 public:
  explicit Apart(size_t threads) : shared_(std::make_shared<Shared>(threads)) {}

  // The task's value, or nothing when it did not come in time. undo: run after a task that ended too late.
  template <class T>
  std::optional<T> run(std::chrono::milliseconds timeout, std::function<T()> task, std::function<void()> undo = {}) {
    struct Call {
      std::mutex mutex;
      std::condition_variable ended;
      std::optional<T> value;
      bool given_up = false;
    };
    auto call = std::make_shared<Call>();
    Shared::add(shared_, [call, task = std::move(task), undo = std::move(undo)]() mutable {
      T value = task();
      task = nullptr;  // what it holds may have to go before the caller does
      {
        std::lock_guard lock(call->mutex);
        call->value = std::move(value);
        call->ended.notify_all();
        if (!call->given_up) return;
      }
      if (undo) undo();
    });
    std::unique_lock lock(call->mutex);
    call->given_up = !call->ended.wait_for(lock, timeout, [&] { return call->value.has_value(); });
    return std::exchange(call->value, std::nullopt);
  }

  // Nobody waits for this one.
  void start(std::function<void()> task) { Shared::add(shared_, std::move(task)); }

 private:
  struct Shared {
    explicit Shared(size_t limit) : limit(limit) {}
    static void add(const std::shared_ptr<Shared>& self, std::function<void()> task) {
      std::lock_guard lock(self->mutex);
      self->tasks.push_back(std::move(task));
      if (self->idle > self->tasks.size() - 1) return self->wake.notify_one();
      if (self->threads >= self->limit) return;
      self->threads++;
      std::thread([self] { work(*self); }).detach();
    }
    static void work(Shared& self) {
      name_this_thread("cache-read");
      std::unique_lock lock(self.mutex);
      while (true) {
        self.idle++;
        bool any = self.wake.wait_for(lock, std::chrono::seconds(10), [&] { return !self.tasks.empty(); });
        self.idle--;
        if (!any) break;
        auto task = std::move(self.tasks.front());
        self.tasks.pop_front();
        lock.unlock();
        task();
        task = nullptr;
        lock.lock();
      }
      self.threads--;
    }
    const size_t limit;
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::function<void()>> tasks;
    size_t threads = 0, idle = 0;
  };
  const std::shared_ptr<Shared> shared_;
};

}  // namespace zest::data
