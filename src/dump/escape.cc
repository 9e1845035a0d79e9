#include "dump/escape.h"

#include <fmt/format.h>

namespace zest::dump {
namespace {

// Bytes of the valid UTF-8 character at the front, 0 if it is none.
size_t character(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  auto follows = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!follows(1) || !follows(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;  // surrogates
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

int upper_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

std::string escape(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    size_t n = character(bytes);
    auto c = static_cast<unsigned char>(bytes[0]);
    // U+FFFD too: a reader of the reference could not tell it from broken bytes
    bool replacement = bytes.starts_with("\xEF\xBF\xBD");
    if (n == 0 || c < 0x20 || c == '%' || c == '"' || c == '\\' || replacement) {
      for (size_t i = 0; i < std::max<size_t>(n, 1); i++)
        out += fmt::format("%{:02X}", static_cast<unsigned char>(bytes[i]));
    } else {
      out.append(bytes.substr(0, n));
    }
    bytes.remove_prefix(std::max<size_t>(n, 1));
  }
  return out;
}

std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    int high = -1, low = -1;
    if (text[i] == '%' && i + 2 < text.size()) high = upper_digit(text[i + 1]), low = upper_digit(text[i + 2]);
    if (high >= 0 && low >= 0) {
      out.push_back(static_cast<char>(high << 4 | low));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size(); i++) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\')
      out += '\\', out += static_cast<char>(c);
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (c < 0x20 || c == '<' || c == '>' || c == '&')
      out += fmt::format("\\u{:04x}", c);
    else if (text.substr(i).starts_with("\xE2\x80\xA8") || text.substr(i).starts_with("\xE2\x80\xA9"))
      out += text[i + 2] == '\xA8' ? "\\u2028" : "\\u2029", i += 2;
    else if (size_t n = character(text.substr(i)); n == 0)
      out += "\\ufffd";
    else
      out.append(text.substr(i, n)), i += n - 1;
  }
  return out + "\"";
}

}  // namespace zest::dump
