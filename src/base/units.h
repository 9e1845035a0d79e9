// Sizes and durations as people write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace zest {

// "100", "4K", "4KiB", "1.5G" in bytes; a bare number is multiplied by `unit` (1 << 20 where the option counts MiB).
// Suffixes are powers of 1024, any case: B K M G T P E. Nothing when it is no number, negative or over 2^63.
std::optional<uint64_t> parse_size(std::string_view text, uint64_t unit = 1);
// "12", "1.5", "300ms", "12s", "5m", "1h30m", "2d"; a bare number counts seconds. In milliseconds.
std::optional<int64_t> parse_duration_ms(std::string_view text);
std::string format_size(uint64_t bytes);        // "9.0 MiB", "128 KiB", "512 B": a decimal only below 10
std::string format_size_exact(uint64_t bytes);  // "195.31 KiB (200000 Bytes)", "17 Bytes"
std::string format_duration_ms(int64_t ms);     // "1h30m", "12s", "300ms"
std::string format_rfc3339(int64_t sec, uint32_t nsec, bool utc);

}  // namespace zest
