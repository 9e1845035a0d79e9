#include "base/units.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <ctime>
#include <iterator>
#include <utility>

namespace zest {
namespace {

// A non-negative decimal number at the front of `text`, which is moved behind it.
std::optional<double> take_number(std::string_view& text) {
  if (text.empty() || !((text[0] >= '0' && text[0] <= '9') || text[0] == '.')) return std::nullopt;
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text, uint64_t unit) {
  auto number = take_number(text);
  if (!number) return std::nullopt;
  double factor = static_cast<double>(unit);
  if (!text.empty()) {
    static constexpr std::string_view kSuffixes = "BKMGTPE";
    auto power = kSuffixes.find(static_cast<char>(toupper(text[0])));
    auto rest = text.substr(1);
    if (power == std::string_view::npos) return std::nullopt;
    if (!(rest.empty() || (power > 0 && (rest == "B" || rest == "b" || rest == "iB" || rest == "ib"))))
      return std::nullopt;
    factor = std::ldexp(1.0, static_cast<int>(10 * power));
  }
  double bytes = *number * factor;
  if (bytes >= 9223372036854775808.0) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

std::optional<int64_t> parse_duration_ms(std::string_view text) {
  if (text.empty()) return std::nullopt;
  bool negative = text[0] == '-';
  if (negative) text.remove_prefix(1);
  double total = 0;
  while (!text.empty()) {
    auto number = take_number(text);
    if (!number) return std::nullopt;
    double factor = 1000;
    if (text.starts_with("ms"))
      factor = 1, text.remove_prefix(2);
    else if (text.starts_with("us"))
      factor = 1e-3, text.remove_prefix(2);
    else if (text.starts_with("ns"))
      factor = 1e-6, text.remove_prefix(2);
    else if (text.starts_with("s"))
      text.remove_prefix(1);
    else if (text.starts_with("m"))
      factor = 60e3, text.remove_prefix(1);
    else if (text.starts_with("h"))
      factor = 3600e3, text.remove_prefix(1);
    else if (text.starts_with("d"))
      factor = 86400e3, text.remove_prefix(1);
    else if (!text.empty())
      return std::nullopt;
    total += *number * factor;
  }
  if (total > 9e15) return std::nullopt;
  auto ms = static_cast<int64_t>(std::llround(total));
  return negative ? -ms : ms;
}

namespace {
constexpr const char* kSizeNames[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
constexpr size_t kSizePowers = std::size(kSizeNames) - 1;

// The amount in the largest unit that leaves it above 1, and that unit.
std::pair<double, const char*> scaled(uint64_t bytes) {
  auto value = static_cast<double>(bytes);
  size_t power = 0;
  while (value >= 1024 && power < kSizePowers) value /= 1024, power++;
  return {value, kSizeNames[power]};
}
}  // namespace

std::string format_size(uint64_t bytes) {
  auto [value, unit] = scaled(bytes);
  return fmt::format("{:.{}f} {}", value, bytes >= 1024 && value < 10 ? 1 : 0, unit);
}

std::string format_size_exact(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} Bytes", bytes);
  auto [value, unit] = scaled(bytes);
  return fmt::format("{:.2f} {} ({} Bytes)", value, unit, bytes);
}

std::string format_duration_ms(int64_t ms) {
  if (ms < 0) return "-" + format_duration_ms(-ms);
  if (ms < 1000) return fmt::format("{}ms", ms);
  int64_t sec = ms / 1000;
  if (sec < 60) return ms % 1000 ? fmt::format("{:.1f}s", static_cast<double>(ms) / 1000) : fmt::format("{}s", sec);
  if (sec < 3600) return sec % 60 ? fmt::format("{}m{}s", sec / 60, sec % 60) : fmt::format("{}m", sec / 60);
  if (sec < 86400)
    return sec % 3600 / 60 ? fmt::format("{}h{}m", sec / 3600, sec % 3600 / 60) : fmt::format("{}h", sec / 3600);
  return sec % 86400 / 3600 ? fmt::format("{}d{}h", sec / 86400, sec % 86400 / 3600) : fmt::format("{}d", sec / 86400);
}

std::string format_rfc3339(int64_t sec, uint32_t nsec, bool utc) {
  std::tm tm{};
  time_t t = sec;
  utc ? gmtime_r(&t, &tm) : localtime_r(&t, &tm);
  auto text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                          tm.tm_hour, tm.tm_min, tm.tm_sec);
  if (nsec) {
    auto fraction = fmt::format("{:09}", nsec);
    fraction.erase(fraction.find_last_not_of('0') + 1);
    text += "." + fraction;
  }
  if (utc || tm.tm_gmtoff == 0) return text + "Z";
  auto minutes = tm.tm_gmtoff / 60;
  return text + fmt::format("{}{:02}:{:02}", minutes < 0 ? '-' : '+', std::abs(minutes) / 60, std::abs(minutes) % 60);
}

}  // namespace zest
