// The tree walker: a stack of directories, shared by the threads.
#include "meta/bulk/walk.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/threads.h"

namespace zest::meta {

namespace {
// With so many directories waiting, pages become small, so that one level does not add much to them.
constexpr size_t kManyWaiting = 50'000;
constexpr size_t kSmallPage = 32;
}  // namespace

WalkDir::~WalkDir() {
  // One by one: a chain of a hundred thousand parents would overflow the stack.
  auto next = std::move(parent);
  while (next && next.use_count() == 1) {
    auto above = std::move(next->parent);
    next = std::move(above);
  }
}

std::string WalkDir::path() const {
  std::vector<const std::string*> names;
  for (const WalkDir* dir = this; dir->parent; dir = dir->parent.get()) names.push_back(&dir->name);
  std::string path;
  for (auto it = names.rbegin(); it != names.rend(); ++it) {
    if (!path.empty()) path += '/';
    path += **it;
  }
  return path;
}

class Walk {
 public:
  Walk(Engine& engine, const WalkOptions& options, Visitor& visitor)
      : engine_(engine), options_(options), visitor_(visitor) {
    threads_ = static_cast<size_t>(std::clamp(options.threads, 1, 255));
    if (options.writes && engine.info().single_writer) threads_ = std::min<size_t>(threads_, 2);
    if (threads_ > 1) pool_.emplace("walk", threads_ - 1, threads_);
  }

  Result<void> run(WalkDirPtr top) {
    push({std::move(top)});
    work();
    if (pool_) pool_->drain();
    pool_.reset();
    stack_.clear();
    if (failed_) return fail(std::move(error_));
    return {};
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return failed_ || !stack_.empty() || busy_ == 0; });
      if (failed_ || stack_.empty()) {
        wake_.notify_all();
        return;
      }
      auto dir = std::move(stack_.back());
      stack_.pop_back();
      const size_t limit = stack_.size() < kManyWaiting ? options_.page : std::min(options_.page, kSmallPage);
      busy_++;
      lock.unlock();
      auto done = step(dir, limit);
      dir.reset();
      lock.lock();
      busy_--;
      if (!done && !failed_) {
        failed_ = true;
        error_ = std::move(done.error());
      }
      if (failed_ || (busy_ == 0 && stack_.empty())) wake_.notify_all();
    }
  }

  void push(std::vector<WalkDirPtr> dirs) {
    if (dirs.empty()) return;
    std::lock_guard lock(mutex_);
    for (auto& dir : dirs) stack_.push_back(std::move(dir));
    wake_.notify_all();
    while (pool_ && helpers_ < threads_ - 1 && helpers_ + 1 < stack_.size() + busy_)
      if (pool_->try_submit([this] { work(); }))
        helpers_++;
      else
        return;
  }

  // One page of a directory, or its entering.
  Result<void> step(const WalkDirPtr& dir, size_t limit) {
    if (options_.cancelled && options_.cancelled->load(std::memory_order_relaxed)) return fail(EINTR);
    if (options_.limits && options_.limits->over()) return fail(ETIMEDOUT);
    if (!dir->entered_) {
      dir->entered_ = true;
      ZEST_ASSIGN(const bool list, visitor_.enter(*dir));
      if (!list) return finish(dir);
      dir->distinct_ = std::make_unique<Distinct>(engine_);
    }
    ZEST_ASSIGN(auto entries, engine_.list(dir->ino, dir->cursor_, limit, dir->with_attr));
    std::erase_if(entries, [&](const DirEntry& entry) { return !dir->distinct_->first(entry.name); });
    if (!dir->cursor_.empty()) {
      dir->open_++;
      push({dir});  // another thread may go on with the listing
    }
    std::vector<WalkDirPtr> descend;
    if (!entries.empty()) ZEST_TRY(visitor_.page(dir, entries, descend));
    dir->open_ += static_cast<int>(descend.size());
    push(std::move(descend));
    return finish(dir);
  }

  // One of the things that kept the directory open is done; upwards as far as that was the last one.
  Result<void> finish(WalkDirPtr dir) {
    while (dir && --dir->open_ == 0) {
      ZEST_ASSIGN(const bool again, visitor_.leave(dir));
      if (again) {
        dir->open_ = 1;
        dir->entered_ = false;
        dir->cursor_.clear();
        push({dir});
        return {};
      }
      auto above = dir->parent;
      dir = std::move(above);
    }
    return {};
  }

  Engine& engine_;
  const WalkOptions& options_;
  Visitor& visitor_;
  size_t threads_ = 1;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<WalkDirPtr> stack_;
  size_t busy_ = 0, helpers_ = 0;
  bool failed_ = false;
  Error error_;
  std::optional<ThreadPool> pool_;
};

Result<void> walk(Engine& engine, const WalkOptions& options, WalkDirPtr top, Visitor& visitor) {
  return Walk(engine, options, visitor).run(std::move(top));
}

}  // namespace zest::meta
