// Integers in byte strings, bounds checked on reading. Nothing here knows what the bytes mean.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace zest {

inline void put_u8(std::string& out, uint8_t v) { out.push_back(static_cast<char>(v)); }
template <class T>
void put_be(std::string& out, T v) {
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(static_cast<uint64_t>(v) >> shift));
}
template <class T>
void put_le(std::string& out, T v) {
  for (size_t i = 0; i < sizeof(T); i++) out.push_back(static_cast<char>(static_cast<uint64_t>(v) >> (8 * i)));
}
inline void put_be16(std::string& out, uint16_t v) { put_be(out, v); }
inline void put_be32(std::string& out, uint32_t v) { put_be(out, v); }
inline void put_be64(std::string& out, uint64_t v) { put_be(out, v); }
inline void put_le32(std::string& out, uint32_t v) { put_le(out, v); }
inline void put_le64(std::string& out, uint64_t v) { put_le(out, v); }

// Reads integers from the front of a view. After a read past the end every further read gives 0 and ok() is false.
class ByteReader {
 public:
  explicit ByteReader(std::string_view data) : data_(data) {}

  bool ok() const { return ok_; }
  size_t left() const { return data_.size(); }
  uint8_t u8() { return static_cast<uint8_t>(be(1)); }
  uint16_t be16() { return static_cast<uint16_t>(be(2)); }
  uint32_t be32() { return static_cast<uint32_t>(be(4)); }
  uint64_t be64() { return be(8); }
  uint32_t le32() { return static_cast<uint32_t>(le(4)); }
  uint64_t le64() { return le(8); }
  std::string_view bytes(size_t n) {
    if (n > data_.size()) {
      ok_ = false;
      data_ = {};
      return {};
    }
    auto out = data_.substr(0, n);
    data_.remove_prefix(n);
    return out;
  }

 private:
  uint64_t be(size_t n) {
    uint64_t v = 0;
    for (char c : bytes(n)) v = v << 8 | static_cast<uint8_t>(c);
    return v;
  }
  uint64_t le(size_t n) {
    uint64_t v = 0;
    auto part = bytes(n);
    for (size_t i = part.size(); i-- > 0;) v = v << 8 | static_cast<uint8_t>(part[i]);
    return v;
  }
  std::string_view data_;
  bool ok_ = true;
};

std::string to_hex(std::string_view bytes);                  // lower case
std::optional<std::string> from_hex(std::string_view hex);   // blanks are skipped; nothing on another character
std::optional<int64_t> parse_int(std::string_view decimal);  // the whole text, or nothing
std::optional<uint64_t> parse_uint(std::string_view decimal);

}  // namespace zest
