#include "front/fuse/listeners.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <future>
#include <memory>
#include <set>
#include <thread>
#include <vector>

namespace zest::fuse {
namespace {

struct Ask {
  bool quick = true;
  std::function<void()> work;
  std::promise<std::thread::id> served;
};

// A kernel's queue, and threads as Session has them. Like the kernel it wakes the thread that has slept longest.
class Served {
 public:
  explicit Served(size_t max_threads = 16) : listeners_(max_threads, 4, [this] { spawn(); }) { listeners_.start(); }
  ~Served() { end(); }

  std::thread::id ask(bool quick = true, std::function<void()> work = {}) {
    return begin(quick, std::move(work)).get();
  }
  std::future<std::thread::id> begin(bool quick, std::function<void()> work = {}) {
    auto request = std::make_unique<Ask>();
    request->quick = quick;
    request->work = std::move(work);
    auto served = request->served.get_future();
    std::lock_guard lock(mutex_);
    requests_.push_back(std::move(request));
    wake_first();
    return served;
  }
  void end() {
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
      for (auto* sleeper : sleepers_) sleeper->notify_one();
    }
    listeners_.join();
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }
  size_t listening() {
    std::lock_guard lock(mutex_);
    return sleepers_.size();
  }

 private:
  void spawn() {
    threads_.emplace_back([this] { work(); });
  }
  void wake_first() {
    if (sleepers_.empty()) return;
    sleepers_.front()->notify_one();
    sleepers_.pop_front();
  }
  std::unique_ptr<Ask> receive() {
    std::condition_variable mine;
    std::unique_lock lock(mutex_);
    while (requests_.empty() && !ended_) {
      sleepers_.push_back(&mine);
      mine.wait(lock);
      std::erase(sleepers_, &mine);
    }
    if (requests_.empty()) return nullptr;
    auto request = std::move(requests_.front());
    requests_.pop_front();
    return request;
  }
  void work() {
    Listeners::Worker worker(listeners_);
    while (true) {
      auto asked = std::chrono::steady_clock::now();
      auto request = receive();
      if (!request) break;
      worker.received(request->quick, std::chrono::steady_clock::now() - asked);
      if (request->work) request->work();
      request->served.set_value(std::this_thread::get_id());
      if (!worker.served()) return;
    }
    listeners_.stop();
    worker.left();
  }

  std::mutex mutex_;
  std::deque<std::unique_ptr<Ask>> requests_;
  std::deque<std::condition_variable*> sleepers_;
  bool ended_ = false;
  std::deque<std::thread> threads_;
  Listeners listeners_;
};

TEST(Listeners, QuickRequestsStayWithOneThread) {
  Served served;
  for (int i = 0; i < 100; i++) served.ask(false);
  for (int i = 0; i < 200; i++) served.ask();
  std::set<std::thread::id> threads;
  size_t changes = 0;
  auto last = served.ask();
  for (int i = 0; i < 1000; i++) {
    auto by = served.ask();
    changes += by != last;
    last = by;
  }
  EXPECT_LT(changes, 500u) << "threads that take turns would be 1000";
}

TEST(Listeners, AQuickRequestThatWaitsLetsOthersThrough) {
  Served served;
  for (int i = 0; i < 200; i++) served.ask();
  std::promise<void> release;
  auto slow = served.begin(true, [&] {
    before_wait();
    release.get_future().wait();
  });
  for (int i = 0; i < 50; i++) served.ask(i % 2 == 0);
  EXPECT_EQ(slow.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  release.set_value();
  slow.get();
}

TEST(Listeners, AWaitThatNobodyNoticesDoesNotStopTheMount) {
  Served served;
  for (int i = 0; i < 200; i++) served.ask();
  std::promise<void> release;
  auto stuck = served.begin(true, [&] { release.get_future().wait(); });
  for (int i = 0; i < 10; i++) served.ask();
  release.set_value();
  stuck.get();
}

TEST(Listeners, RequestsThatTakeLongAreServedAtOnceUpToTheLimit) {
  Served served(5);
  std::promise<void> release;
  auto gate = release.get_future().share();
  std::atomic<int> running{0};
  std::vector<std::future<std::thread::id>> all;
  for (int i = 0; i < 8; i++)
    all.push_back(served.begin(false, [&] {
      running++;
      gate.wait();
    }));
  while (running < 5) std::this_thread::yield();
  release.set_value();
  std::set<std::thread::id> threads;
  for (auto& one : all) threads.insert(one.get());
  EXPECT_EQ(threads.size(), 5u);
}

TEST(Listeners, OnlyOneThatListensAloneAndIsAskedPromptlyExpectsTheNextRequestSoon) {
  const std::chrono::nanoseconds late = Listeners::kSoon + std::chrono::nanoseconds(1), prompt = Listeners::kSoon;
  Listeners listeners(16, 4, [] {});
  Listeners::Worker first(listeners), second(listeners);
  listeners.start();
  first.received(false, prompt);  // the second one listens, too
  first.served();
  EXPECT_FALSE(first.soon());
  first.received(true, prompt);
  first.served();
  EXPECT_FALSE(first.soon()) << "it may be the second one's";
  bool expected = false;
  for (int i = 0; i < 1000 && !expected; i++) {
    std::thread standby(
        [&] {  // after a row of quick requests the first leaves the listening to the second, for a while
          for (int k = 0; k < 8; k++) {
            first.received(true, prompt);
            first.served();
          }
        });
    for (int k = 0; k < 10 && !expected; k++) {
      second.received(true, prompt);
      second.served();
      expected = second.soon();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    for (auto waited : {late, prompt}) {
      second.received(waited == late, waited);
      second.served();
      EXPECT_FALSE(second.soon()) << "it came late, or was not a quick one";
    }
    standby.join();
  }
  EXPECT_TRUE(expected);
}

TEST(Listeners, WhenItIsQuietMoreThanOneListens) {
  Served served;
  for (int i = 0; i < 200; i++) served.ask();
  while (served.listening() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

TEST(Listeners, ManyAskersAtOnce) {
  Served served;
  std::vector<std::thread> askers;
  for (int t = 0; t < 8; t++)
    askers.emplace_back([&, t] {
      for (int i = 0; i < 500; i++)
        served.ask((i + t) % 5 != 0, (i + t) % 7 == 0 ? std::function<void()>(&before_wait) : nullptr);
    });
  for (auto& asker : askers) asker.join();
}

}  // namespace
}  // namespace zest::fuse
