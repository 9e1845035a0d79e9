#include "object/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace zest::object {
namespace {

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c("hello\n"), 893245630u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c_portable("123456789"), 0xe3069283u);
}

TEST(Crc32c, AllLengthsAndAlignmentsAgree) {
  std::string data(30'000, ' ');
  uint32_t seed = 5;
  for (char& c : data) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  for (size_t size : {0, 1, 7, 8, 9, 255, 767, 768, 769, 1000, 4096, 12'287, 12'288, 12'289, 24'576, 29'990})
    for (size_t from : {0, 1, 3, 8}) {
      auto part = std::string_view(data).substr(from, size);
      EXPECT_EQ(crc32c(part), crc32c_portable(part)) << size << " from " << from;
      auto half = part.substr(0, size / 3);
      EXPECT_EQ(crc32c(part.substr(size / 3), crc32c(half)), crc32c(part)) << size;
      EXPECT_EQ(crc32c_portable(part.substr(size / 3), crc32c_portable(half)), crc32c(part)) << size;
    }
}

TEST(Crc32c, SegmentsTellTheChecksumOfAll) {
  std::string data(3 * kCrcSegment + 100, ' ');
  uint32_t seed = 7;
  for (char& c : data) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  for (size_t size : {size_t{0}, size_t{1}, kCrcSegment - 1, kCrcSegment, 2 * kCrcSegment, data.size()}) {
    auto part = std::string_view(data).substr(0, size);
    auto segments = crc32c_segments(part);
    ASSERT_EQ(segments.size(), (size + kCrcSegment - 1) / kCrcSegment);
    EXPECT_EQ(segments.empty() ? 0 : segments[0], crc32c(part.substr(0, kCrcSegment)));
    EXPECT_EQ(crc32c_joined(segments, size), crc32c(part)) << size;
  }
}

}  // namespace
}  // namespace zest::object
