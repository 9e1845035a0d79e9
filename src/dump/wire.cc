#include "dump/wire.h"

namespace zest::dump {

std::optional<uint64_t> MessageReader::take_varint(std::string_view& data) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !data.empty(); shift += 7) {
    auto byte = static_cast<unsigned char>(data[0]);
    data.remove_prefix(1);
    value |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

std::optional<MessageReader::Field> MessageReader::next() {
  if (data_.empty() || !ok_) return std::nullopt;
  ok_ = false;  // until the field is whole
  auto tag = take_varint(data_);
  if (!tag || *tag >> 3 == 0 || *tag >> 3 > 0x1FFFFFFF) return std::nullopt;
  Field field;
  field.number = static_cast<uint32_t>(*tag >> 3);
  size_t size = 0;
  switch (*tag & 7) {
    case 0: {
      auto value = take_varint(data_);
      if (!value) return std::nullopt;
      field.value = *value;
      break;
    }
    case 1: size = 8; break;
    case 5: size = 4; break;
    case 2: {
      auto length = take_varint(data_);
      if (!length) return std::nullopt;
      size = *length;
      field.is_bytes = true;
      break;
    }
    default: return std::nullopt;
  }
  if (size > data_.size()) return std::nullopt;
  field.bytes = data_.substr(0, size);
  data_.remove_prefix(size);
  ok_ = true;
  return field;
}

}  // namespace zest::dump
