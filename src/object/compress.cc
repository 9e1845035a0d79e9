#include "object/compress.h"

#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <climits>
#include <cstring>

namespace zest::object {

Result<Compression> parse_compression(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  if (lower.empty() || lower == "none") return Compression::kNone;
  if (lower == "lz4") return Compression::kLz4;
  if (lower == "zstd") return Compression::kZstd;
  return fail(EINVAL, "unknown compression: " + std::string(name));
}

size_t compress_bound(Compression method, size_t n) {
  switch (method) {
    case Compression::kLz4: return n + n / 255 + 16;
    case Compression::kZstd: return n + n / 256 + (n < 131072 ? (131072 - n) / 2048 : 0);
    case Compression::kNone: break;
  }
  return n;
}

Result<std::string> compress(Compression method, std::string_view plain) {
  if (method == Compression::kNone) return std::string(plain);
  if (plain.size() > LZ4_MAX_INPUT_SIZE) return fail(EINVAL, "compress: block too large");
  std::string packed;
  bool failed = false;
  size_t room = compress_bound(method, plain.size());
  packed.resize_and_overwrite(room, [&](char* out, size_t) -> size_t {
    if (method == Compression::kLz4) {
      int size = LZ4_compress_default(plain.data(), out, static_cast<int>(plain.size()), static_cast<int>(room));
      failed = size <= 0;
      return failed ? 0 : static_cast<size_t>(size);
    }
    // One-shot, so the frame carries the content size, which other readers insist on.
    size_t size = ZSTD_compress(out, room, plain.data(), plain.size(), 1);
    failed = ZSTD_isError(size);
    return failed ? 0 : size;
  });
  if (failed) return fail(EIO, "compress: no output");
  return packed;
}

Result<void> decompress(Compression method, std::string_view packed, std::span<char> into) {
  bool good = false;
  switch (method) {
    case Compression::kNone:
      good = packed.size() == into.size();
      if (good) std::copy(packed.begin(), packed.end(), into.begin());
      break;
    case Compression::kLz4:
      good = packed.size() <= INT_MAX && into.size() <= INT_MAX &&
             LZ4_decompress_safe(packed.data(), into.data(), static_cast<int>(packed.size()),
                                 static_cast<int>(into.size())) == static_cast<int>(into.size());
      break;
    case Compression::kZstd: {
      size_t size = ZSTD_decompress(into.data(), into.size(), packed.data(), packed.size());
      good = !ZSTD_isError(size) && size == into.size();
      break;
    }
  }
  if (!good)
    return fail(EIO, "decompress: " + std::to_string(packed.size()) + " bytes do not give the " +
                         std::to_string(into.size()) + " bytes of the block");
  return {};
}

}  // namespace zest::object
