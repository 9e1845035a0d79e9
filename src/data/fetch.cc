#include "data/fetch.h"

#include <chrono>

#include "base/spent.h"

namespace zest::data {

Fetch::~Fetch() {
  std::lock_guard lock(index_->mutex);
  auto it = index_->fetches.find(id_);
  if (it != index_->fetches.end() && it->second.expired()) {
    index_->fetches.erase(it);
    index_->count.store(index_->fetches.size(), std::memory_order_release);
  }
}

void Fetch::finish(Result<BufferPtr> outcome) {
  {
    std::lock_guard lock(mutex_);
    outcome_ = std::move(outcome);
    done_ = true;
  }
  ended_.notify_all();
}

bool Fetch::done() const {
  std::lock_guard lock(mutex_);
  return done_;
}

Result<BufferPtr> Fetch::wait(const std::atomic<bool>* cancelled) {
  Waiting waiting(Part::kObject);
  std::unique_lock lock(mutex_);
  while (!ended_.wait_for(lock, std::chrono::milliseconds(100), [&] { return done_; }))
    if (cancelled && cancelled->load(std::memory_order_relaxed)) return fail(EINTR);
  return outcome_;
}

FetchPtr FetchTable::join(const BlockId& id) {
  std::lock_guard lock(index_->mutex);
  auto& entry = index_->fetches[id];
  if (auto fetch = entry.lock()) return fetch;
  auto fetch = std::make_shared<Fetch>(index_, id);
  entry = fetch;
  index_->count.store(index_->fetches.size(), std::memory_order_release);
  return fetch;
}

FetchPtr FetchTable::find(const BlockId& id) {
  if (index_->count.load(std::memory_order_acquire) == 0) return nullptr;
  std::lock_guard lock(index_->mutex);
  auto it = index_->fetches.find(id);
  return it == index_->fetches.end() ? nullptr : it->second.lock();
}

void FetchTable::forget(const Fetch& fetch) {
  FetchPtr held;  // let go after the lock: the destructor of a fetch takes it too
  std::lock_guard lock(index_->mutex);
  auto it = index_->fetches.find(fetch.id());
  if (it == index_->fetches.end()) return;
  held = it->second.lock();
  if (held.get() != &fetch) return;  // another fetch of the block has begun since
  index_->fetches.erase(it);
  index_->count.store(index_->fetches.size(), std::memory_order_release);
}

}  // namespace zest::data
