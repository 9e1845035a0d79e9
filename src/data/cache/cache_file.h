// One block as a file of the disk cache: bytes, then a checksum of each 32 KiB (docs/format/cache.md sections 2, 3,
// 12).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace zest::data {

enum class Verify { kNone, kFull, kShrink, kExtend };
std::optional<Verify> parse_verify(std::string_view level);

// sums: those of the segments, if they are known.
std::string checksum_trailer(std::string_view data, std::span<const uint32_t> sums = {});

// Writes path + ".tmp" and renames it over path, making folders as needed with dir_mode. soon: somebody waits for it
// and it will be read soon, so it goes through the page cache. sums: as for checksum_trailer().
Result<void> write_cache_file(const std::string& path, std::string_view data, Verify level, uint32_t mode,
                              bool soon = false, std::span<const uint32_t> sums = {});
// mode | w and x for every class that may read.
uint32_t dir_mode(uint32_t file_mode);
Result<void> make_dirs(const std::string& dir, uint32_t mode);

// An open block file. Thread safe.
class CacheFile {
 public:
  // ENOENT: not there; EIO: of a wrong size, or unreadable.
  static Result<std::shared_ptr<CacheFile>> open(const std::string& path, uint32_t bytes, Verify level);
  ~CacheFile();
  CacheFile(const CacheFile&) = delete;

  // EIO with "checksum" in the text when the bytes are not what was written.
  Result<void> read(uint32_t offset, std::span<char> into) const { return read(offset, into, false); }
  // The same without waiting for the disk: EAGAIN when the page cache does not have it. A segment of which a part is
  // read is not checked again for kTrustedSec: it comes from memory, where it was when it was checked.
  Result<void> read_at_hand(uint32_t offset, std::span<char> into) const { return read(offset, into, true); }
  // Is (the end of) it in the page cache?
  bool at_hand() const;
  // Reads all of it into the page cache.
  void read_ahead() const;
  bool linked_twice() const { return links_ > 1; }
  static constexpr uint32_t kTrustedSec = 10;

 private:
  CacheFile(int fd, uint32_t bytes, Verify level) : fd_(fd), bytes_(bytes), level_(level) {}
  Result<void> load(uint64_t file_size);
  Result<void> read(uint32_t offset, std::span<char> into, bool at_hand) const;
  Result<void> read_raw(uint32_t offset, std::span<char> into, bool at_hand) const;
  Result<void> check(uint32_t segment, std::string_view data) const;
  bool trusted(uint32_t segment) const;
  const int fd_;
  const uint32_t bytes_;
  const Verify level_;
  uint64_t links_ = 1;
  std::vector<uint32_t> sums_;  // empty: none stored
  // When each segment was found right, in seconds of coarse_seconds(); as long as sums_.
  mutable std::vector<std::atomic<uint32_t>> checked_s_;
};

}  // namespace zest::data
