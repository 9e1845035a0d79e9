// The protobuf wire format (protobuf.dev/programming-guides/encoding), as far as the binary dump needs it: varints and
// length-delimited fields. Fifteen fixed messages streamed in batches do not need generated classes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace zest::dump {

class MessageWriter {
 public:
  // Zero values are left out, as proto3 does.
  void number(uint32_t field, uint64_t value) {
    if (value == 0) return;
    varint(uint64_t{field} << 3);
    varint(value);
  }
  void number(uint32_t field, int64_t value) { number(field, static_cast<uint64_t>(value)); }
  void number(uint32_t field, uint32_t value) { number(field, uint64_t{value}); }
  void bytes(uint32_t field, std::string_view value) {
    if (!value.empty()) message(field, value);
  }
  void message(uint32_t field, const MessageWriter& inner) { message(field, inner.out_); }
  void varint(uint64_t value) {
    while (value >= 0x80) {
      out_.push_back(static_cast<char>(value | 0x80));
      value >>= 7;
    }
    out_.push_back(static_cast<char>(value));
  }
  const std::string& str() const { return out_; }

 private:
  void message(uint32_t field, std::string_view content) {
    varint(uint64_t{field} << 3 | 2);
    varint(content.size());
    out_.append(content);
  }
  std::string out_;
};

// Walks over the fields of a message. Views point into it.
class MessageReader {
 public:
  explicit MessageReader(std::string_view data) : data_(data) {}
  struct Field {
    uint32_t number = 0;
    uint64_t value = 0;      // of a varint
    std::string_view bytes;  // of a length-delimited field
    bool is_bytes = false;
  };
  // The next field; nothing at the end or when the rest is broken, ok() tells which.
  std::optional<Field> next();
  bool ok() const { return ok_; }
  // The varints of a packed field.
  static std::optional<uint64_t> take_varint(std::string_view& data);

 private:
  std::string_view data_;
  bool ok_ = true;
};

}  // namespace zest::dump
