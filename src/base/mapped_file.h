// Bytes of a file as memory: large bodies that need not be in memory of our own.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace zest {

class MappedFile {
 public:
  // To read. An empty file is an empty view.
  static Result<MappedFile> open(const std::string& path);
  // To fill: `size` bytes of an unnamed file in TMPDIR, else /tmp. ENOSPC when there is no room for them.
  static Result<MappedFile> temporary(size_t size);
  MappedFile(MappedFile&& other) noexcept;
  ~MappedFile();

  char* data() { return at_; }  // of a temporary one
  std::string_view view() const { return {at_, size_}; }

 private:
  MappedFile(char* at, size_t size) : at_(at), size_(size) {}
  static Result<MappedFile> map(int fd, size_t size, int protection);  // closes fd
  char* at_;
  size_t size_;
};

// An unnamed file in TMPDIR, else /tmp; it is gone when the descriptor is closed.
Result<int> open_temporary();

}  // namespace zest
