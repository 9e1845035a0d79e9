#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

namespace zest {

Result<int> open_temporary() {
  const char* dir = getenv("TMPDIR");
  std::string name = std::string(dir && *dir ? dir : "/tmp") + "/zestfs-XXXXXX";
  int fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return fail(errno, "no temporary file " + name);
  unlink(name.c_str());
  return fd;
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat st {};
  if (fd < 0 || fstat(fd, &st) != 0) {
    int code = errno;
    if (fd >= 0) close(fd);
    return fail(code, path);
  }
  return map(fd, static_cast<size_t>(st.st_size), PROT_READ);
}

Result<MappedFile> MappedFile::temporary(size_t size) {
  ZEST_ASSIGN(int fd, open_temporary());
  if (int code = size > 0 ? posix_fallocate(fd, 0, static_cast<off_t>(size)) : 0) {
    close(fd);
    return fail(code, "room for a temporary file");
  }
  return map(fd, size, PROT_READ | PROT_WRITE);
}

Result<MappedFile> MappedFile::map(int fd, size_t size, int protection) {
  void* at = size > 0 ? mmap(nullptr, size, protection, MAP_SHARED, fd, 0) : nullptr;
  int code = errno;
  close(fd);
  if (at == MAP_FAILED) return fail(code, "map a file");
  return MappedFile(static_cast<char*>(at), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : at_(std::exchange(other.at_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
  if (at_) munmap(at_, size_);
}

}  // namespace zest
