// Memory for blocks, drawn from the mount's budget and given back to it when the last owner lets go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/budget.h"

namespace zest::data {

class BufferPool;
struct BufferShelf;

// A piece of memory of a fixed capacity; its first size() bytes are data. Shared between those who write, upload, cache
// and read it; nobody changes bytes below size() once it is shared.
class Buffer {
 public:
  ~Buffer();
  Buffer(const Buffer&) = delete;
  char* data() { return data_; }
  const char* data() const { return data_; }
  size_t size() const { return size_; }
  void set_size(size_t size) { size_ = size; }
  size_t capacity() const { return capacity_; }
  std::string_view view() const { return {data_, size_}; }
  // CRC-32C of each 32 KiB of the data, if somebody had to compute them (object/crc32c.h); else empty.
  std::vector<uint32_t>& sums() { return sums_; }
  const std::vector<uint32_t>& sums() const { return sums_; }

 private:
  friend class BufferPool;
  Buffer(std::shared_ptr<BufferShelf> shelf, char* data, size_t capacity, Budget::Hold hold);
  std::shared_ptr<BufferShelf> shelf_;
  char* data_;
  size_t size_ = 0, capacity_;
  std::vector<uint32_t> sums_;
  Budget::Hold hold_;
};
using BufferPtr = std::shared_ptr<Buffer>;

// Thread safe. The budget must outlive every buffer.
class BufferPool {
 public:
  BufferPool(Budget& budget, size_t block_bytes);

  // At once or null; leaves `reserve` bytes of the budget to others.
  BufferPtr try_get(size_t bytes, int64_t reserve);
  // Waits for memory; null when there was none in time.
  BufferPtr get(size_t bytes, int64_t timeout_ms);
  void trim();  // gives memory kept for reuse back to the system
  Budget& budget() { return budget_; }

 private:
  BufferPtr make(size_t bytes, Budget::Hold hold);
  Budget& budget_;
  std::shared_ptr<BufferShelf> shelf_;
};

}  // namespace zest::data
