#include "volume/text.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>

namespace zest {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// Length of the well-formed sequence at the front, 0 if there is none.
size_t sequence_length(std::string_view s) {
  auto byte = [s](size_t i) { return static_cast<uint8_t>(s[i]); };
  uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  size_t n = lead >= 0xC2 && lead <= 0xDF ? 2 : (lead & 0xF0) == 0xE0 ? 3 : lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
  if (n == 0 || s.size() < n) return 0;
  for (size_t i = 1; i < n; i++)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  // overlong forms, surrogates and what lies beyond U+10FFFF
  if ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F) || (lead == 0xF0 && byte(1) < 0x90) ||
      (lead == 0xF4 && byte(1) > 0x8F))
    return 0;
  return n;
}

// `digits` digits at `at`, or false.
bool take_digits(std::string_view text, size_t& at, size_t digits, int& out) {
  out = 0;
  for (size_t i = 0; i < digits; i++, at++) {
    if (at >= text.size() || text[at] < '0' || text[at] > '9') return false;
    out = out * 10 + (text[at] - '0');
  }
  return true;
}

bool take_char(std::string_view text, size_t& at, std::string_view any_of) {
  if (at >= text.size() || any_of.find(text[at]) == any_of.npos) return false;
  at++;
  return true;
}

}  // namespace

std::string repair_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    size_t n = sequence_length(text);
    if (n == 0) {
      out += "\xEF\xBF\xBD";
      n = 1;
    } else {
      out += text.substr(0, n);
    }
    text.remove_prefix(n);
  }
  return out;
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); i++)
    if (lower(a[i]) != lower(b[i])) return false;
  return true;
}

size_t json_depth(std::string_view json) {
  size_t depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); i++) {
    char c = json[i];
    if (in_string) {
      if (c == '\\') i++;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      depth--;
    }
  }
  return deepest;
}

std::string time_to_json(int64_t sec, uint32_t nsec) {
  time_t t = sec;
  tm parts{};
  gmtime_r(&t, &parts);
  char text[64];
  std::string out(text, strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts));
  if (nsec != 0) {
    snprintf(text, sizeof(text), ".%09u", nsec % 1'000'000'000);
    std::string fraction = text;
    fraction.resize(fraction.find_last_not_of('0') + 1);
    out += fraction;
  }
  return out + "Z";
}

bool time_from_json(std::string_view text, int64_t& sec, uint32_t& nsec) {
  size_t at = 0;
  int year, month, day, hour, minute, second;
  if (!take_digits(text, at, 4, year) || !take_char(text, at, "-") || !take_digits(text, at, 2, month) ||
      !take_char(text, at, "-") || !take_digits(text, at, 2, day) || !take_char(text, at, "Tt ") ||
      !take_digits(text, at, 2, hour) || !take_char(text, at, ":") || !take_digits(text, at, 2, minute) ||
      !take_char(text, at, ":") || !take_digits(text, at, 2, second))
    return false;
  uint32_t fraction = 0;
  if (take_char(text, at, ".")) {
    uint32_t unit = 100'000'000;
    size_t from = at;
    for (int digit; at < text.size() && text[at] >= '0' && text[at] <= '9'; unit /= 10) {
      take_digits(text, at, 1, digit);
      fraction += static_cast<uint32_t>(digit) * unit;
    }
    if (at == from) return false;
  }
  int64_t offset = 0;
  if (!take_char(text, at, "Zz")) {
    if (at >= text.size()) return false;
    int sign = text[at] == '-' ? -1 : 1, hours, minutes;
    if (!take_char(text, at, "+-") || !take_digits(text, at, 2, hours) || !take_char(text, at, ":") ||
        !take_digits(text, at, 2, minutes))
      return false;
    offset = sign * (hours * 3600 + minutes * 60);
  }
  if (at != text.size() || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
    return false;
  tm parts{};
  parts.tm_year = year - 1900;
  parts.tm_mon = month - 1;
  parts.tm_mday = day;
  parts.tm_hour = hour;
  parts.tm_min = minute;
  parts.tm_sec = second;
  sec = timegm(&parts) - offset;
  nsec = fraction;
  return true;
}

}  // namespace zest
