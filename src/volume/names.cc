// Names that the format gives a meaning: entries of the trash, objects of blocks, volumes; and what a name may be.
#include <ctime>

#include "base/bytes.h"
#include "volume/format.h"
#include "volume/records.h"

namespace zest {

namespace {

// Decimal without sign or superfluous zeroes, as we write it.
template <class T>
bool take_number(std::string_view text, T& out) {
  if (text.empty() || text.size() > 20 || (text.size() > 1 && text[0] == '0')) return false;
  for (char c : text)
    if (c < '0' || c > '9') return false;
  auto value = parse_uint(text);
  if (!value || static_cast<T>(*value) != *value) return false;
  out = static_cast<T>(*value);
  return true;
}

std::string block_name(SliceId id, uint32_t block, uint32_t block_bytes) {
  return std::to_string(raw(id)) + "_" + std::to_string(block) + "_" + std::to_string(block_bytes);
}

std::string plain_key(SliceId id, uint32_t block, uint32_t block_bytes) {
  return "chunks/" + std::to_string(raw(id) / 1'000'000) + "/" + std::to_string(raw(id) / 1000) + "/" +
         block_name(id, block, block_bytes);
}

std::string hashed_key(SliceId id, uint32_t block, uint32_t block_bytes) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  return std::string("chunks/") + kDigits[raw(id) >> 4 & 15] + kDigits[raw(id) & 15] + "/" +
         std::to_string(raw(id) / 1'000'000) + "/" + block_name(id, block, block_bytes);
}

}  // namespace

std::string trash_hour_name(int64_t unix_sec) {
  time_t t = unix_sec;
  tm parts{};
  gmtime_r(&t, &parts);
  char text[64];
  size_t n = strftime(text, sizeof(text), "%Y-%m-%d-%H", &parts);
  return std::string(text, n);
}

bool parse_trash_hour(std::string_view name, int64_t& unix_sec) {
  if (name.size() != 13 || name[4] != '-' || name[7] != '-' || name[10] != '-') return false;
  int parts[4] = {};
  static constexpr size_t kFrom[] = {0, 5, 8, 11}, kDigits[] = {4, 2, 2, 2};
  for (size_t i = 0; i < 4; i++)
    for (char c : name.substr(kFrom[i], kDigits[i])) {
      if (c < '0' || c > '9') return false;
      parts[i] = parts[i] * 10 + (c - '0');
    }
  tm t{};
  t.tm_year = parts[0] - 1900;
  t.tm_mon = parts[1] - 1;
  t.tm_mday = parts[2];
  t.tm_hour = parts[3];
  int64_t sec = timegm(&t);
  if (trash_hour_name(sec) != name) return false;  // 2026-02-30-25 is no hour
  unix_sec = sec;
  return true;
}

std::string trash_entry_name(Ino parent, Ino ino, std::string_view name) {
  std::string out = std::to_string(raw(parent)) + "-" + std::to_string(raw(ino)) + "-";
  out += name;
  if (out.size() > kMaxName) out.resize(kMaxName);
  return out;
}

bool parse_trash_entry(std::string_view entry, Ino& parent, Ino& ino, std::string& name) {
  size_t first = entry.find('-');
  if (first == entry.npos) return false;
  size_t second = entry.find('-', first + 1);
  if (second == entry.npos || second + 1 == entry.size()) return false;
  uint64_t a, b;
  if (!take_number(entry.substr(0, first), a) || !take_number(entry.substr(first + 1, second - first - 1), b))
    return false;
  parent = Ino{a};
  ino = Ino{b};
  name = entry.substr(second + 1);
  return true;
}

int check_name(std::string_view name) {
  if (name.empty() || name.find('/') != name.npos || name.find('\0') != name.npos) return EINVAL;
  return name.size() > kMaxName ? ENAMETOOLONG : 0;
}

bool valid_volume_name(std::string_view name) {
  if (name.size() < 3 || name.size() > 63 || name.front() == '-' || name.back() == '-') return false;
  for (char c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  return true;
}

std::string block_key(const Format& format, SliceId id, uint32_t block, uint32_t block_bytes) {
  return format.hash_prefix ? hashed_key(id, block, block_bytes) : plain_key(id, block, block_bytes);
}

bool parse_block_key(std::string_view key, SliceId& id, uint32_t& block, uint32_t& block_bytes) {
  size_t slash = key.rfind('/');
  if (slash == key.npos) return false;
  std::string_view name = key.substr(slash + 1);
  size_t first = name.find('_'), second = name.rfind('_');
  if (first == name.npos || second == first) return false;
  uint64_t number;
  uint32_t index, bytes;
  if (!take_number(name.substr(0, first), number) || !take_number(name.substr(first + 1, second - first - 1), index) ||
      !take_number(name.substr(second + 1), bytes))
    return false;
  // the directories must be those of this slice, in one of the two layouts
  SliceId found{number};
  if (key != plain_key(found, index, bytes) && key != hashed_key(found, index, bytes)) return false;
  id = found;
  block = index;
  block_bytes = bytes;
  return true;
}

}  // namespace zest
