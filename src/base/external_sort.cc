#include "base/external_sort.h"

#include <unistd.h>

#include <cerrno>

#include "base/mapped_file.h"

namespace zest {

SpillFile::~SpillFile() {
  if (fd_ >= 0) close(fd_);
}

Result<void> SpillFile::append(const void* bytes, size_t size) {
  if (fd_ < 0) {
    ZEST_ASSIGN(fd_, open_temporary());
  }
  auto* from = static_cast<const char*>(bytes);
  while (size > 0) {
    auto n = pwrite(fd_, from, size, static_cast<off_t>(size_));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(n < 0 ? errno : EIO, "write a temporary file");
    from += n, size -= static_cast<size_t>(n), size_ += static_cast<uint64_t>(n);
  }
  return {};
}

Result<void> SpillFile::read(uint64_t offset, void* into, size_t size) const {
  auto* to = static_cast<char*>(into);
  while (size > 0) {
    auto n = pread(fd_, to, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(n < 0 ? errno : EIO, "read a temporary file");
    to += n, size -= static_cast<size_t>(n), offset += static_cast<uint64_t>(n);
  }
  return {};
}

}  // namespace zest
