// CRC-32C (Castagnoli), with the processor's instruction where it has one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace zest::object {

// The checksum of `data`; give the checksum of what stands before it to go on.
uint32_t crc32c(std::string_view data, uint32_t before = 0);

constexpr size_t kCrcSegment = 32 << 10;
// Of each kCrcSegment bytes; the last segment may be shorter.
std::vector<uint32_t> crc32c_segments(std::string_view data);
// The checksum of `size` bytes, from those of their segments.
uint32_t crc32c_joined(std::span<const uint32_t> segments, size_t size);

// The table-driven form, for the test that compares both.
uint32_t crc32c_portable(std::string_view data, uint32_t before = 0);

}  // namespace zest::object
