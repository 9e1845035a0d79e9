#include "object/file_io.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace zest::object {
namespace {

bool worth(const char* memory, size_t size) {
  return size >= kDirectSize && reinterpret_cast<uintptr_t>(memory) % kDirectAlign == 0;
}

bool set_direct(int fd, bool on) {
  int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

constexpr size_t aligned(size_t size) { return size / kDirectAlign * kDirectAlign; }

}  // namespace

// By cachestat(2), Linux 6.5.
bool in_page_cache(int fd, uint64_t offset, uint64_t size) {
  constexpr long kCachestat = 451;
  struct {
    uint64_t offset, size;
  } range{offset, size};
  struct {
    uint64_t cached, dirty, writeback, evicted, recently_evicted;
  } pages{};
  return ::syscall(kCachestat, fd, &range, &pages, 0U) != 0 || pages.cached > 0;
}

int write_all(int fd, std::string_view body) {
  while (!body.empty()) {
    ssize_t put = ::write(fd, body.data(), body.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno;
    body.remove_prefix(static_cast<size_t>(put));
  }
  return 0;
}

int write_direct(int fd, std::string_view body) {
  if (!worth(body.data(), body.size()) || !set_direct(fd, true)) return write_all(fd, body);
  while (body.size() >= kDirectAlign) {
    ssize_t put = ::write(fd, body.data(), aligned(body.size()));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EINVAL) break;
    if (put < 0) return errno;
    body.remove_prefix(static_cast<size_t>(put));
  }
  set_direct(fd, false);
  return write_all(fd, body);
}

ssize_t read_all(int fd, uint64_t offset, std::span<char> into) {
  bool direct = worth(into.data(), into.size()) && offset % kDirectAlign == 0 &&
                !in_page_cache(fd, offset, into.size()) && set_direct(fd, true);
  size_t done = 0;
  while (done < into.size()) {
    size_t left = into.size() - done;
    if (direct && left < kDirectAlign) direct = !set_direct(fd, false);
    ssize_t got = ::pread(fd, into.data() + done, direct ? aligned(left) : left, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EINVAL && direct && set_direct(fd, false)) {
      direct = false;
      continue;
    }
    if (got < 0) return -1;
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  if (direct) set_direct(fd, false);
  return static_cast<ssize_t>(done);
}

}  // namespace zest::object
