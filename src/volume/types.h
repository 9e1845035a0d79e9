// Numbers that name things in a volume, and the constants of the format (docs/format/encodings.md sections 1, 2).
#pragma once

#include <cstdint>
#include <functional>

namespace zest {

enum class Ino : uint64_t {};
enum class SliceId : uint64_t {};
using ChunkIndex = uint32_t;

constexpr uint64_t raw(Ino ino) { return static_cast<uint64_t>(ino); }
constexpr uint64_t raw(SliceId id) { return static_cast<uint64_t>(id); }

constexpr Ino kRootIno{1};
constexpr Ino kTrashIno{0x7FFFFFFF10000000};         // hour directories of the trash are kTrashIno + n, n >= 1
constexpr Ino kFirstSpecialIno{0x7FFFFFFF00000000};  // virtual files of a mount: never in the database
inline constexpr char kTrashName[] = ".trash";

constexpr bool is_trash(Ino ino) { return raw(ino) >= raw(kTrashIno); }
constexpr bool is_special(Ino ino) { return raw(ino) >= raw(kFirstSpecialIno); }

constexpr uint64_t kChunkSize = uint64_t{1} << 26;
constexpr uint64_t kMaxFileSize = uint64_t{1} << 57;  // a length must stay below
constexpr size_t kMaxName = 255, kMaxSymlink = 4096, kMaxXattrName = 255, kMaxXattrValue = 65536;

// What `length` bytes of a file are charged for: a multiple of 4096, at least 4096.
constexpr int64_t charged_space(uint64_t length) {
  return length == 0 ? 4096 : static_cast<int64_t>((length + 4095) / 4096 * 4096);
}

enum class FileType : uint8_t {
  kFile = 1,
  kDirectory = 2,
  kSymlink = 3,
  kFifo = 4,
  kBlock = 5,
  kChar = 6,
  kSocket = 7
};

uint32_t to_st_mode(FileType type, uint16_t mode);  // S_IFREG | 0644 ...
FileType from_st_mode(uint32_t st_mode);

}  // namespace zest

template <>
struct std::hash<zest::Ino> {
  size_t operator()(zest::Ino ino) const noexcept { return std::hash<uint64_t>{}(zest::raw(ino)); }
};
