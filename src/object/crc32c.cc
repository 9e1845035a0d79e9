#include "object/crc32c.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace zest::object {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected

using Table = std::array<uint32_t, 256>;

// tables[0] is the usual byte table; tables[k][b] is the effect of byte b with k zero bytes behind it.
constexpr std::array<Table, 8> make_tables() {
  std::array<Table, 8> tables{};
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ kPolynomial : crc >> 1;
    tables[0][i] = crc;
  }
  for (size_t k = 1; k < 8; k++)
    for (size_t i = 0; i < 256; i++) tables[k][i] = tables[k - 1][i] >> 8 ^ tables[0][tables[k - 1][i] & 0xff];
  return tables;
}
constexpr std::array<Table, 8> kTables = make_tables();

inline uint64_t load64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

uint32_t run_tables(const char* p, size_t n, uint32_t crc) {
  const auto& t = kTables;
  while (n >= 8) {
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) v |= static_cast<uint64_t>(static_cast<uint8_t>(p[i])) << (8 * i);
    v ^= crc;
    crc = t[7][v & 0xff] ^ t[6][v >> 8 & 0xff] ^ t[5][v >> 16 & 0xff] ^ t[4][v >> 24 & 0xff] ^ t[3][v >> 32 & 0xff] ^
          t[2][v >> 40 & 0xff] ^ t[1][v >> 48 & 0xff] ^ t[0][v >> 56];
    p += 8;
    n -= 8;
  }
  for (; n; n--) crc = crc >> 8 ^ t[0][(crc ^ static_cast<uint8_t>(*p++)) & 0xff];
  return crc;
}

// The instruction has a latency of three cycles, but one can start every cycle: three lanes run side by side, and their
// results are joined by shifting the earlier ones over the bytes of the later ones. A shift is linear, so four tables
// of 256 do it.
class Shift {
 public:
  explicit Shift(size_t bytes) {
    std::array<uint32_t, 32> column{};
    for (int bit = 0; bit < 32; bit++) {
      uint32_t crc = uint32_t{1} << bit;
      for (size_t i = 0; i < bytes; i++) crc = crc >> 8 ^ kTables[0][crc & 0xff];
      column[static_cast<size_t>(bit)] = crc;
    }
    for (size_t part = 0; part < 4; part++)
      for (size_t value = 0; value < 256; value++) {
        uint32_t sum = 0;
        for (size_t bit = 0; bit < 8; bit++)
          if (value >> bit & 1) sum ^= column[part * 8 + bit];
        tables_[part][value] = sum;
      }
  }
  uint32_t operator()(uint32_t crc) const {
    return tables_[0][crc & 0xff] ^ tables_[1][crc >> 8 & 0xff] ^ tables_[2][crc >> 16 & 0xff] ^ tables_[3][crc >> 24];
  }

 private:
  std::array<Table, 4> tables_;
};

#if defined(__x86_64__)
#define ZEST_CRC_TARGET __attribute__((target("sse4.2")))
ZEST_CRC_TARGET inline uint32_t step64(uint32_t crc, uint64_t v) {
  return static_cast<uint32_t>(_mm_crc32_u64(crc, v));
}
ZEST_CRC_TARGET inline uint32_t step8(uint32_t crc, uint8_t v) { return _mm_crc32_u8(crc, v); }
bool have_instruction() { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__)
#define ZEST_CRC_TARGET __attribute__((target("+crc")))
ZEST_CRC_TARGET inline uint32_t step64(uint32_t crc, uint64_t v) { return __crc32cd(crc, v); }
ZEST_CRC_TARGET inline uint32_t step8(uint32_t crc, uint8_t v) { return __crc32cb(crc, v); }
bool have_instruction() { return getauxval(AT_HWCAP) & HWCAP_CRC32; }
#endif

#ifdef ZEST_CRC_TARGET
template <size_t kLane>
ZEST_CRC_TARGET uint32_t run_lanes(const char*& p, size_t& n, uint32_t crc) {
  static const Shift shift(kLane);
  while (n >= 3 * kLane) {
    uint32_t second = 0, third = 0;
    for (const char* end = p + kLane; p < end; p += 8) {
      crc = step64(crc, load64(p));
      second = step64(second, load64(p + kLane));
      third = step64(third, load64(p + 2 * kLane));
    }
    crc = shift(shift(crc) ^ second) ^ third;
    p += 2 * kLane;
    n -= 3 * kLane;
  }
  return crc;
}

ZEST_CRC_TARGET uint32_t run_instruction(const char* p, size_t n, uint32_t crc) {
  crc = run_lanes<4096>(p, n, crc);
  crc = run_lanes<256>(p, n, crc);
  for (; n >= 8; n -= 8, p += 8) crc = step64(crc, load64(p));
  for (; n; n--) crc = step8(crc, static_cast<uint8_t>(*p++));
  return crc;
}
#else
bool have_instruction() { return false; }
uint32_t run_instruction(const char* p, size_t n, uint32_t crc) { return run_tables(p, n, crc); }
#endif

}  // namespace

uint32_t crc32c(std::string_view data, uint32_t before) {
  static const auto run = have_instruction() ? &run_instruction : &run_tables;
  return ~run(data.data(), data.size(), ~before);
}

std::vector<uint32_t> crc32c_segments(std::string_view data) {
  std::vector<uint32_t> sums;
  sums.reserve((data.size() + kCrcSegment - 1) / kCrcSegment);
  for (size_t at = 0; at < data.size(); at += kCrcSegment) sums.push_back(crc32c(data.substr(at, kCrcSegment)));
  return sums;
}

uint32_t crc32c_joined(std::span<const uint32_t> segments, size_t size) {
  static const Shift shift(kCrcSegment);
  uint32_t sum = 0;
  for (size_t i = 0; i < segments.size(); i++) {
    size_t length = std::min(kCrcSegment, size - i * kCrcSegment);
    // what stands before is shifted over the segment, as if that were zeroes
    sum = length == kCrcSegment ? shift(sum) : ~crc32c(std::string(length, '\0'), ~sum);
    sum ^= segments[i];
  }
  return sum;
}

uint32_t crc32c_portable(std::string_view data, uint32_t before) {
  return ~run_tables(data.data(), data.size(), ~before);
}

}  // namespace zest::object
