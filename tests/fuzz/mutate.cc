#include "mutate.h"

#include <algorithm>
#include <array>

namespace zest::fuzz {

namespace {

constexpr size_t kMaxInput = 1 << 16;
constexpr std::array<uint64_t, 14> kEdges{0,       1,       0x7F,       0x80,       0xFF,       0x7FFF,    0xFFFF,
                                          0x10000, 1 << 26, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, INT64_MAX, UINT64_MAX};

}  // namespace

// An integer at the edge of its range, of 1, 2, 4 or 8 bytes, in either order.
void Mutator::put_number(std::string& bytes) {
  const size_t width = size_t{1} << below(4);
  if (bytes.size() < width) return;
  const uint64_t value = kEdges[below(kEdges.size())] + below(3) - 1;
  const size_t at = below(bytes.size() - width + 1);
  const bool little = below(2) == 0;
  for (size_t i = 0; i < width; i++) bytes[at + i] = static_cast<char>(value >> (8 * (little ? i : width - 1 - i)));
}

// A decimal number in place of one that stands there.
void Mutator::put_digits(std::string& bytes) {
  const size_t at = bytes.find_first_of("0123456789", below(bytes.size()));
  if (at == std::string::npos) return;
  const size_t end = std::min(bytes.find_first_not_of("0123456789", at), bytes.size());
  std::string number = std::to_string(kEdges[below(kEdges.size())] + below(3) - 1);
  if (below(3) == 0) number.insert(0, "-");
  if (below(8) == 0) number.append(30, '9');
  bytes.replace(at, end - at, number);
}

void Mutator::move_block(std::string& bytes, const std::string& from) {
  if (from.empty()) return;
  const size_t begin = below(from.size());
  bytes.insert(below(bytes.size() + 1), from.substr(begin, 1 + below(below(8) == 0 ? from.size() : 32)));
}

void Mutator::change(std::string& bytes, const std::vector<std::string>& seeds) {
  switch (below(10)) {
    case 0:
    case 1:
      if (!bytes.empty()) bytes[below(bytes.size())] ^= static_cast<char>(1 << below(8));
      break;
    case 2:
      if (!bytes.empty()) bytes[below(bytes.size())] = static_cast<char>(random_());
      break;
    case 3:
    case 4: put_number(bytes); break;
    case 5: put_digits(bytes); break;
    case 6: bytes.resize(below(bytes.size() + 1)); break;
    case 7:
      if (!bytes.empty()) bytes.erase(below(bytes.size()), 1 + below(16));
      break;
    case 8: move_block(bytes, std::string(bytes)); break;
    default: move_block(bytes, seeds[below(seeds.size())]); break;
  }
}

std::string Mutator::next(const std::vector<std::string>& seeds) {
  std::string bytes = seeds[below(seeds.size())];
  for (size_t changes = 1 + below(below(4) == 0 ? 16 : 3); changes > 0; changes--) change(bytes, seeds);
  if (bytes.size() > kMaxInput) bytes.resize(kMaxInput);
  return bytes;
}

}  // namespace zest::fuzz
