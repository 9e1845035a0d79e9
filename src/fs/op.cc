#include "fs/op.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <ctime>
#include <span>

#include "base/log.h"
#include "fs/filesystem.h"

namespace zest::fs {
namespace {

constexpr int64_t kTroublesMs = 10'000;
constexpr uint64_t kTroubles = 10;

// Characters that would break a line of the log or its readers.
bool needs_escapes(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    auto c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && c != '\t') || c == 0x7F || c == '`') return true;
    if (c < 0x80) {
      i++;
      continue;
    }
    size_t n = c >= 0xF0 && c < 0xF5 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 ? 2 : 0;
    if (n == 0 || c >= 0xF5 || i + n > text.size()) return true;
    for (size_t k = 1; k < n; k++)
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return true;
    if (text.substr(i, 3) == "\xEF\xBB\xBF") return true;
    i += n;
  }
  return false;
}

}  // namespace

std::shared_ptr<AccessLog::Reader> AccessLog::open() {
  auto reader = std::make_shared<Reader>();
  std::lock_guard lock(mutex_);
  readers_.push_back(reader);
  readers_count_.fetch_add(1, std::memory_order_relaxed);
  return reader;
}

void AccessLog::close(const std::shared_ptr<Reader>& reader) {
  std::lock_guard lock(mutex_);
  readers_count_.fetch_sub(static_cast<int>(std::erase(readers_, reader)), std::memory_order_relaxed);
}

void AccessLog::publish(const std::string& line) {
  std::lock_guard lock(mutex_);
  for (auto& reader : readers_) {
    std::lock_guard reader_lock(reader->mutex);
    if (reader->lines.size() >= kQueueLimit) continue;
    reader->lines.push_back(line);
    reader->arrived.notify_one();
  }
}

size_t AccessLog::read(Reader& reader, const Context& context, std::span<char> into) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  size_t filled = 0;
  std::unique_lock lock(reader.mutex);
  while (filled < into.size()) {
    if (reader.rest.empty() && !reader.lines.empty()) {
      reader.rest = std::move(reader.lines.front());
      reader.lines.pop_front();
    }
    if (!reader.rest.empty()) {
      size_t n = std::min(into.size() - filled, reader.rest.size());
      std::memcpy(into.data() + filled, reader.rest.data(), n);
      reader.rest.erase(0, n);
      filled += n;
      continue;
    }
    auto now = std::chrono::steady_clock::now();
    if (now >= deadline || context.is_cancelled()) break;
    reader.arrived.wait_until(lock, std::min(deadline, now + std::chrono::milliseconds(100)));
  }
  if (filled == 0 && into.size() >= 2) {
    std::memcpy(into.data(), "#\n", 2);
    filled = 2;
  }
  return filled;
}

void Troubles::write(const std::string& line, int64_t now_ms) {
  std::lock_guard lock(mutex_);
  if (lines_ == 0 || now_ms - begin_ms_ > kTroublesMs) {
    if (lines_ > kTroubles) log_error(fmt::format("{} more operations failed", lines_ - kTroubles));
    begin_ms_ = now_ms;
    lines_ = 0;
  }
  if (lines_++ < kTroubles) log_error(line);
}

Op::Op(FileSystem& fs, const Context& context, Method method) : fs_(fs), context_(context), method_(method) {}

void Op::finish(int code) {
  ns_ = spending_.end();
  fs_.stats_->count(method_, code, ns_, spending_.spent());
  if (slow()) fs_.stats_->slow();
}

// What the kernel asks for on its own (pid 0) nobody waits for.
bool Op::slow() const {
  auto limit_ms = fs_.options_.slow_op_ms;
  return limit_ms > 0 && ns_ >= limit_ms * 1'000'000 && context_.pid != 0;
}

// Answers carry no text. Those who read and write content write of its troubles themselves.
bool Op::is_trouble(const Error& error) const {
  return !error.what.empty() && error.code != EINTR && method_ != Method::kRead && method_ != Method::kWrite &&
         method_ != Method::kFlush && method_ != Method::kFsync;
}

void Op::log_trouble(const Error& error, std::string_view args) {
  if (args.ends_with(':')) args.remove_suffix(1);  // an entry would follow
  fs_.troubles_->write(fmt::format("{} {} failed: {}", name_of(method_), args, error.message()),
                       fs_.clock_.monotonic_ms());
}

bool Op::wants_text() const { return fs_.log_->wanted() || slow(); }

void Op::publish(int code, const std::string& args) {
  Time now = fs_.clock_.now();
  time_t sec = now.sec;
  tm local{};
  localtime_r(&sec, &local);
  auto text = fmt::format("[uid:{},gid:{},pid:{}] {} {} - {} <{:.6f}>", context_.uid, context_.gid, context_.pid,
                          name_of(method_), args, log_status(code), static_cast<double>(ns_) / 1e9);
  if (slow()) log_info(fmt::format("slow operation: {}: {}", text, log_spent(spending_.spent())));
  if (!fs_.log_->wanted()) return;
  fs_.log_->publish(fmt::format("{:04}.{:02}.{:02} {:02}:{:02}:{:02}.{:06} {}\n", local.tm_year + 1900,
                                local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec,
                                now.nsec / 1000, text));
}

std::string log_spent(const Spent& spent) {
  std::vector<std::pair<int64_t, Part>> parts;
  for (size_t i = 0; i < kParts; i++)
    if (spent.ns[i] >= 1'000'000) parts.emplace_back(spent.ns[i], static_cast<Part>(i));
  std::sort(parts.rbegin(), parts.rend());
  std::string out;
  for (auto [ns, part] : parts) out += fmt::format("{} {:.3f} s, ", zest::name_of(part), static_cast<double>(ns) / 1e9);
  return out + fmt::format("{} round trips", spent.round_trips);
}

std::string log_mode(uint32_t mode) {
  std::string out = "?rwxrwxrwx";
  switch (mode & S_IFMT) {
    case S_IFREG: out[0] = '-'; break;
    case S_IFDIR: out[0] = 'd'; break;
    case S_IFLNK: out[0] = 'l'; break;
    case S_IFBLK: out[0] = 'b'; break;
    case S_IFCHR: out[0] = 'c'; break;
    case S_IFIFO: out[0] = 'f'; break;
    case S_IFSOCK: out[0] = 's'; break;
    default: break;
  }
  for (int bit = 0; bit < 9; bit++)
    if (!(mode & (0400u >> bit))) out[static_cast<size_t>(1 + bit)] = '-';
  if (mode & S_ISUID) out[3] = mode & S_IXUSR ? 's' : 'S';
  if (mode & S_ISGID) out[6] = mode & S_IXGRP ? 's' : 'S';
  if (mode & S_ISVTX) out[9] = mode & S_IXOTH ? 't' : 'T';
  return out;
}

std::string log_entry(Ino ino, const Attr& attr) {
  uint32_t mode = to_st_mode(attr.type, attr.mode);
  return fmt::format(" ({},[{}:0{:06o},{},{},{},{},{},{},{}])", raw(ino), log_mode(mode), mode, attr.nlink, attr.uid,
                     attr.gid, attr.atime.sec, attr.mtime.sec, attr.ctime.sec, attr.length);
}

std::string log_entry(const Result<meta::EntryAttr>& entry) {
  return entry ? log_entry(entry->ino, entry->attr) : std::string();
}

std::string log_text(std::string_view text) {
  if (!needs_escapes(text)) return std::string(text);
  std::string out;
  for (char ch : text) {
    auto c = static_cast<unsigned char>(ch);
    if (ch == '\n') {
      out += "\\n";
    } else if (ch == '\r') {
      out += "\\r";
    } else if (ch == '\t') {
      out += "\\t";
    } else if (ch == '"' || ch == '\\') {
      out += '\\';
      out += ch;
    } else if (c < 0x20 || c >= 0x7F) {
      out += fmt::format("\\x{:02x}", c);
    } else {
      out += ch;
    }
  }
  return out;
}

std::string log_status(int code) {
  if (code == 0) return "OK";
  if (code == 73) return "RFS specific error";
  const char* name = strerrordesc_np(code);
  if (!name) return fmt::format("errno {}", code);
  std::string text = name;
  if (text.size() > 1 && std::islower(static_cast<unsigned char>(text[1])))
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

}  // namespace zest::fs
