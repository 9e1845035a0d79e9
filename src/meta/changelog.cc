#include "meta/changelog.h"

#include <fmt/format.h>

#include <charconv>
#include <iterator>

#include "base/bytes.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

constexpr int64_t kTrimStep = 10'000;
constexpr size_t kPage = 1000;
constexpr int64_t kGapMs = 2000;  // what a commit may take between its line and its end

void escape(std::string_view text, std::string& out) {
  constexpr std::string_view kMarks = ",%()\"\\";
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x20 || byte >= 0x7F || kMarks.find(c) != kMarks.npos)
      fmt::format_to(std::back_inserter(out), "%{:02X}", byte);
    else
      out.push_back(c);
  }
}

std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    uint8_t byte = 0;
    const char* const hex = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() && std::from_chars(hex, hex + 2, byte, 16).ptr == hex + 2) {
      out.push_back(static_cast<char>(byte));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

// Of "a,b%2C": "a" and "b,".
std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> out;
  for (size_t at = 0; !list.empty() && at <= list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    out.push_back(unescape(list.substr(at, end - at)));
    at = end + 1;
  }
  return out;
}

void join(std::span<const ChangeLog::Arg> args, std::string& out) {
  for (size_t i = 0; i < args.size(); i++) {
    if (i > 0) out.push_back(',');
    args[i].write(out);
  }
}

// The version of the first line that is not older than `edge_sec`; past the last one if all are.
Result<int64_t> first_since(Engine& engine, const LogRange& range, int64_t edge_sec) {
  int64_t low = range.first, high = range.last + 1;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    ZEST_ASSIGN(const auto lines, engine.log_lines(middle, 1));
    const auto entry = lines.empty() ? std::nullopt : parse_log_line(lines[0].text);
    if (!lines.empty() && (!entry || entry->at.sec < edge_sec))
      low = std::max(middle, lines[0].version) + 1;
    else
      high = middle;
  }
  return low;
}

}  // namespace

void ChangeLog::Arg::write(std::string& out) const {
  std::visit(
      [&out](const auto& v) {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string_view>)
          escape(v, out);
        else
          fmt::format_to(std::back_inserter(out), "{}", v);
      },
      value_);
}

void ChangeLog::write(Txn& txn, uint64_t sid, Time at, std::string_view op, std::span<const Arg> args,
                      std::span<const Arg> results) {
  std::string line = fmt::format("{}.{:09}|{}(", at.sec, at.nsec, op);
  join(args, line);
  line.push_back(')');
  if (!results.empty()) line.push_back(':');
  join(results, line);
  fmt::format_to(std::back_inserter(line), "|({},{})", sid, ++lines_);
  txn.log(std::move(line));
}

void log_dir_stat(State& state, Txn& txn, Ino dir, const DirStat& stat) {
  state.change_log.add(txn, state.clock.now(), "DIRSTAT", {dir, stat.length, stat.space, stat.inodes});
}

std::optional<LogEntry> parse_log_line(std::string_view line) {
  LogEntry entry;
  auto until = [&line](char mark) -> std::optional<std::string_view> {
    const size_t at = line.find(mark);
    if (at == line.npos) return {};
    const auto part = line.substr(0, at);
    line.remove_prefix(at + 1);
    return part;
  };
  auto number = [](std::optional<std::string_view> text) { return text ? parse_uint(*text) : std::nullopt; };
  const auto sec = number(until('.')), nsec = number(until('|'));
  const auto op = until('('), args = until(')');
  const size_t end = line.rfind("|(");  // a | may stand in a text
  if (end == line.npos) return {};
  const auto results = line.substr(0, end);
  line.remove_prefix(end + 2);
  const auto sid = number(until(',')), count = number(until(')'));
  if (!sec || !nsec || !args || !sid || !count) return {};
  entry.at = Time{static_cast<int64_t>(*sec), static_cast<uint32_t>(*nsec)};
  entry.op = *op;
  entry.args = split(*args);
  if (!results.empty()) entry.results = split(results.substr(1));
  entry.sid = *sid;
  entry.number = *count;
  return entry;
}

Result<std::vector<LogLine>> LogTail::next() {
  ZEST_ASSIGN(auto lines, engine_.log_lines(next_, kPage));
  const bool gap = engine_.info().dense_log && !lines.empty() && lines[0].version > next_;
  const int64_t now_ms = clock_.monotonic_ms();
  if (gap && !gap_since_ms_) gap_since_ms_ = now_ms;
  if (gap && now_ms - *gap_since_ms_ < kGapMs) return std::vector<LogLine>();
  gap_since_ms_.reset();
  if (lines.empty()) return lines;
  next_ = lines[0].version;
  size_t count = 0;
  while (count < lines.size() && (!engine_.info().dense_log || lines[count].version == next_))
    next_ = lines[count++].version + 1;
  lines.resize(count);
  return lines;
}

Result<uint64_t> trim_change_log(State& state, const std::atomic<bool>& stopping) {
  const Format format = state.format();
  Engine& engine = *state.engine;
  ZEST_ASSIGN(const auto range, engine.log_range());
  int64_t keep = range.first;
  if (format.change_log_max_lines > 0) keep = std::max(keep, range.last + 1 - format.change_log_max_lines);
  if (format.change_log_max_age > 0) {
    ZEST_ASSIGN(const int64_t young, first_since(engine, range, state.clock.now().sec - format.change_log_max_age));
    keep = std::max(keep, young);
  }
  for (int64_t at = range.first; at < keep && !stopping;) {
    at = std::min(keep, at + kTrimStep);
    ZEST_TRY(engine.trim_log(at));
  }
  return static_cast<uint64_t>(keep - range.first);
}

}  // namespace zest::meta
