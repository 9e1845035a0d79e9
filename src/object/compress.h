// Block compression (docs/format/objects.md): none, lz4, zstd.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace zest::object {

enum class Compression { kNone, kLz4, kZstd };
Result<Compression> parse_compression(std::string_view name);  // EINVAL
size_t compress_bound(Compression, size_t plain_bytes);
Result<std::string> compress(Compression, std::string_view plain);
// Exactly `into.size()` bytes must come out, else EIO. Never writes outside `into`.
Result<void> decompress(Compression, std::string_view packed, std::span<char> into);

}  // namespace zest::object
