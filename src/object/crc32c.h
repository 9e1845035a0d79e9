// CRC-32C (Castagnoli), with the processor's instruction where it has one.
#pragma once

#include <cstdint>
#include <string_view>

namespace zest::object {

// The checksum of `data`; give the checksum of what stands before it to go on.
uint32_t crc32c(std::string_view data, uint32_t before = 0);

// The table-driven form, for the test that compares both.
uint32_t crc32c_portable(std::string_view data, uint32_t before = 0);

}  // namespace zest::object
