#include "data/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace zest::data {

// Whole blocks are mapped and kept for reuse: fresh pages cost more than filling them. What is kept is not held from
// the budget, but only while that has room for it.
struct BufferShelf {
  BufferShelf(const Budget& budget, size_t bytes, size_t kept) : budget(budget), block_bytes(bytes), max_free(kept) {}
  ~BufferShelf() {
    for (char* block : free) ::munmap(block, block_bytes);
  }
  char* take() {
    {
      std::lock_guard lock(mutex);
      if (!free.empty()) {
        char* block = free.back();
        free.pop_back();
        return block;
      }
    }
    void* map = ::mmap(nullptr, block_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) throw std::bad_alloc();
    return static_cast<char*>(map);
  }
  void give_back(char* block) {  // which is still held
    const auto room = budget.limit() - budget.used();
    {
      std::lock_guard lock(mutex);
      if (free.size() < max_free && static_cast<int64_t>(free.size() * block_bytes) <= room) {
        free.push_back(block);
        return;
      }
    }
    ::munmap(block, block_bytes);
  }
  const Budget& budget;
  const size_t block_bytes, max_free;
  std::mutex mutex;
  std::vector<char*> free;
};

namespace {
constexpr size_t kMaxKeptBytes = 16 << 20;

size_t kept_blocks(const Budget& budget, size_t block_bytes) {
  auto allowed = std::min<size_t>(kMaxKeptBytes, static_cast<size_t>(std::max<int64_t>(budget.limit(), 0)) / 16);
  return allowed / std::max<size_t>(block_bytes, 1);
}
}  // namespace

Buffer::Buffer(std::shared_ptr<BufferShelf> shelf, char* data, size_t capacity, Budget::Hold hold)
    : shelf_(std::move(shelf)), data_(data), capacity_(capacity), hold_(std::move(hold)) {}

Buffer::~Buffer() {
  if (shelf_)
    shelf_->give_back(data_);
  else
    std::free(data_);
}

BufferPool::BufferPool(Budget& budget, size_t block_bytes)
    : budget_(budget), shelf_(std::make_shared<BufferShelf>(budget, block_bytes, kept_blocks(budget, block_bytes))) {}

BufferPtr BufferPool::make(size_t bytes, Budget::Hold hold) {
  if (bytes == shelf_->block_bytes) return BufferPtr(new Buffer(shelf_, shelf_->take(), bytes, std::move(hold)));
  char* data = static_cast<char*>(std::malloc(std::max<size_t>(bytes, 1)));
  if (!data) throw std::bad_alloc();
  return BufferPtr(new Buffer(nullptr, data, bytes, std::move(hold)));
}

BufferPtr BufferPool::try_get(size_t bytes, int64_t reserve) {
  auto hold = budget_.try_take(static_cast<int64_t>(bytes), reserve);
  return hold ? make(bytes, std::move(hold)) : nullptr;
}

BufferPtr BufferPool::get(size_t bytes, int64_t timeout_ms) {
  auto hold = budget_.take(static_cast<int64_t>(bytes), timeout_ms);
  return hold ? make(bytes, std::move(hold)) : nullptr;
}

void BufferPool::trim() {
  std::vector<char*> unused;
  {
    std::lock_guard lock(shelf_->mutex);
    unused.swap(shelf_->free);
  }
  for (char* block : unused) ::munmap(block, shelf_->block_bytes);
}

}  // namespace zest::data
