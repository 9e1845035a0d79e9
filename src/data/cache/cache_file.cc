#include "data/cache/cache_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/bytes.h"
#include "object/crc32c.h"
#include "object/file_io.h"

namespace zest::data {
namespace {

// Also what is read at once: from reads of this size the kernel fills its page cache with large folios, which are
// cheaper to fill and to copy from than the single pages that it takes for a large read or for fadvise(); and the bytes
// are still in the processor's cache when they are checked.
constexpr uint32_t kSegment = object::kCrcSegment;
uint32_t segments(uint32_t bytes) { return (bytes + kSegment - 1) / kSegment; }

// Since the machine started, as cheap as a clock can be; never 0.
uint32_t coarse_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<uint32_t>(now.tv_sec) + 1;
}

bool drop_os_cache() {
  static const bool drop = [] {
    const char* value = std::getenv("JFS_DROP_OSCACHE");
    return value && *value;
  }();
  return drop;
}

std::unexpected<Error> os_error(const char* call, const std::string& path) {
  int code = errno;
  if (code == ENOENT) return fail(ENOENT);
  return fail(code, fmt::format("{} {}", call, path));
}

}  // namespace

std::optional<Verify> parse_verify(std::string_view level) {
  if (level == "none") return Verify::kNone;
  if (level == "full") return Verify::kFull;
  if (level == "shrink") return Verify::kShrink;
  if (level == "extend") return Verify::kExtend;
  return {};
}

std::string checksum_trailer(std::string_view data, std::span<const uint32_t> sums) {
  std::vector<uint32_t> own;
  if (sums.empty()) sums = own = object::crc32c_segments(data);
  std::string out;
  for (uint32_t sum : sums) put_be32(out, sum);
  return out;
}

uint32_t dir_mode(uint32_t mode) { return mode | (mode & 0444) >> 2 | (mode & 0444) >> 1; }

Result<void> make_dirs(const std::string& dir, uint32_t mode) {
  if (::mkdir(dir.c_str(), mode) == 0) {
    ::chmod(dir.c_str(), mode);  // the umask may have taken bits away
    return {};
  }
  if (errno == EEXIST) return {};
  if (errno != ENOENT) return os_error("mkdir", dir);
  auto slash = dir.find_last_of('/');
  if (slash == std::string::npos || slash == 0) return fail(ENOENT, "mkdir " + dir);
  ZEST_TRY(make_dirs(dir.substr(0, slash), mode));
  if (::mkdir(dir.c_str(), mode) != 0 && errno != EEXIST) return os_error("mkdir", dir);
  ::chmod(dir.c_str(), mode);
  return {};
}

Result<void> write_cache_file(const std::string& path, std::string_view data, Verify level, uint32_t mode, bool soon,
                              std::span<const uint32_t> sums) {
  std::string temporary = path + ".tmp";
  int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
  int fd = ::open(temporary.c_str(), flags, mode);
  if (fd < 0 && errno == ENOENT) {
    ZEST_TRY(make_dirs(path.substr(0, path.find_last_of('/')), dir_mode(mode)));
    fd = ::open(temporary.c_str(), flags, mode);
  }
  if (fd < 0) return fail(errno, "open " + temporary);
  int code = soon ? object::write_all(fd, data) : object::write_direct(fd, data);
  if (code == 0 && level != Verify::kNone) code = object::write_all(fd, checksum_trailer(data, sums));
  Result<void> written;
  if (code != 0) written = fail(code);
  if (written && ::fchmod(fd, mode) != 0) written = fail(errno);
  if (drop_os_cache()) ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  if (::close(fd) != 0 && written) written = fail(errno);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = fail(errno);
  if (written) return {};
  ::unlink(temporary.c_str());
  return fail(written.error().code, "write " + path);
}

CacheFile::~CacheFile() { ::close(fd_); }

Result<std::shared_ptr<CacheFile>> CacheFile::open(const std::string& path, uint32_t bytes, Verify level) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return os_error("open", path);
  std::shared_ptr<CacheFile> file(new CacheFile(fd, bytes, level));
  struct stat st {};
  if (::fstat(fd, &st) != 0) return os_error("stat", path);
  file->links_ = st.st_nlink;
  auto loaded = file->load(static_cast<uint64_t>(st.st_size));
  if (!loaded) return fail(EIO, fmt::format("{}: {}", path, loaded.error().message()));
  return file;
}

// What stands behind the data: nothing, a trailer, a trailer and a footer, or a footer alone (not a multiple of 4).
Result<void> CacheFile::load(uint64_t file_size) {
  if (file_size < bytes_) return fail(EIO, "too short");
  uint64_t extra = file_size - bytes_, trailer = uint64_t{segments(bytes_)} * 4;
  if (extra == 0 || extra % 4 != 0) return {};
  if (extra < trailer) return fail(EIO, "of a wrong size");
  std::string head(std::min<uint64_t>(extra, trailer + 2), '\0');
  ssize_t n = ::pread(fd_, head.data(), head.size(), bytes_);
  if (n != static_cast<ssize_t>(head.size())) return fail(EIO, "unreadable");
  if (extra > trailer && !head.ends_with("FS")) return fail(EIO, "of a wrong size");
  if (level_ == Verify::kNone) return {};
  ByteReader in(head);
  for (uint32_t i = 0; i < segments(bytes_); i++) sums_.push_back(in.be32());
  checked_s_ = std::vector<std::atomic<uint32_t>>(sums_.size());
  return {};
}

Result<void> CacheFile::read_raw(uint32_t offset, std::span<char> into, bool at_hand) const {
  size_t done = 0;
  while (done < into.size()) {
    iovec rest{into.data() + done, std::min<size_t>(into.size() - done, kSegment)};
    ssize_t n = ::preadv2(fd_, &rest, 1, static_cast<off_t>(offset + done), at_hand ? RWF_NOWAIT : 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && at_hand && errno == EOPNOTSUPP) return fail(EAGAIN);
    if (n < 0) return fail(errno, "reading a cached block");
    if (n == 0) return fail(EIO, "cached block is too short");
    done += static_cast<size_t>(n);
  }
  if (drop_os_cache()) ::posix_fadvise(fd_, offset, static_cast<off_t>(into.size()), POSIX_FADV_DONTNEED);
  return {};
}

bool CacheFile::at_hand() const {
  auto last = std::min(bytes_, kSegment);
  return object::in_page_cache(fd_, bytes_ - last, last);
}

// The pages go through a pipe to nowhere, without a copy.
void CacheFile::read_ahead() const {
  if (drop_os_cache()) return;
  int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC), ends[2] = {-1, -1};
  ssize_t n = nowhere < 0 ? -1 : ::pipe2(ends, O_CLOEXEC);
  off64_t at = 0;
  while (n >= 0 && at < static_cast<off64_t>(bytes_)) {
    n = ::splice(fd_, &at, ends[1], nullptr, kSegment, 0);
    if (n == 0) break;
    for (ssize_t gone = 0; n > 0; n = gone <= 0 ? -1 : n - gone)
      gone = ::splice(ends[0], nullptr, nowhere, nullptr, static_cast<size_t>(n), 0);
  }
  for (int fd : {nowhere, ends[0], ends[1]})
    if (fd >= 0) ::close(fd);
}

Result<void> CacheFile::check(uint32_t segment, std::string_view data) const {
  if (object::crc32c(data) == sums_[segment]) {
    checked_s_[segment].store(coarse_seconds(), std::memory_order_relaxed);
    return {};
  }
  return fail(EIO, fmt::format("checksum of segment {} differs", segment));
}

bool CacheFile::trusted(uint32_t segment) const {
  auto at = checked_s_[segment].load(std::memory_order_relaxed);
  return at != 0 && coarse_seconds() - at < kTrustedSec;
}

Result<void> CacheFile::read(uint32_t offset, std::span<char> into, bool at_hand) const {
  if (into.empty()) return {};
  if (uint64_t{offset} + into.size() > bytes_) return fail(EIO, "read beyond the end of a cached block");
  bool whole = offset == 0 && into.size() == bytes_;
  if (sums_.empty() || (level_ == Verify::kFull && !whole)) return read_raw(offset, into, at_hand);
  const uint32_t end = offset + static_cast<uint32_t>(into.size());
  for (uint32_t at = offset; at < end;) {
    uint32_t segment = at / kSegment, start = segment * kSegment, stop = std::min(start + kSegment, bytes_);
    if (at == start && stop <= end) {
      auto run = into.subspan(at - offset, stop - at);
      ZEST_TRY(read_raw(at, run, at_hand));
      ZEST_TRY(check(segment, std::string_view(run.data(), run.size())));
      at = stop;
      continue;
    }
    uint32_t n = std::min(stop, end) - at;
    auto part = into.subspan(at - offset, n);
    if (level_ == Verify::kExtend && !(at_hand && trusted(segment))) {
      thread_local std::unique_ptr<char[]> bounce(new char[kSegment]);
      ZEST_TRY(read_raw(start, std::span(bounce.get(), stop - start), at_hand));
      ZEST_TRY(check(segment, std::string_view(bounce.get(), stop - start)));
      std::memcpy(part.data(), bounce.get() + (at - start), n);
    } else {
      ZEST_TRY(read_raw(at, part, at_hand));
    }
    at += n;
  }
  return {};
}

}  // namespace zest::data
