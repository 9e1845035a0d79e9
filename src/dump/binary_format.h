// The framing of binary dumps (docs/format/dump.md section 8).
#pragma once

#include <cstdint>

namespace zest::dump {

enum class Segment : uint32_t {
  kFormat = 1,
  kCounter,
  kNode,
  kEdge,
  kChunk,
  kSliceRef,
  kSymlink,
  kSustained,
  kDelFile,
  kXattr,
  kAcl,
  kStat,
  kQuota,
  kParent,
  kChangeLog,
};
inline constexpr const char* kSegmentNames[] = {"",         "format",  "counter",   "node",     "edge",  "chunk",
                                                "sliceRef", "symlink", "sustained", "delFile",  "xattr", "acl",
                                                "stat",     "quota",   "parent",    "changeLog"};
// The list inside a Batch that a segment of each kind fills.
inline constexpr uint32_t kBatchField[] = {0, 0, 13, 1, 2, 3, 4, 7, 8, 9, 5, 12, 10, 11, 6, 14};
inline constexpr uint32_t kMagic = 0x747083;
inline constexpr uint64_t kMaxSegment = uint64_t{1} << 30;  // larger ones are refused: a broken or hostile file

}  // namespace zest::dump
