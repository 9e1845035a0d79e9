#include "cli/mount_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "volume/types.h"

namespace zest::cli {

Result<void> check_mount_point(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode) || st.st_ino != 1)
    return fail(ENOTDIR, fmt::format("path {} is not a mount point", path));
  return {};
}

Result<std::string> virtual_file(const std::string& mount, const std::string& name) {
  for (const char* prefix : {"/.jfs", "/"}) {
    auto path = mount + prefix + name;
    struct stat st {};
    if (lstat(path.c_str(), &st) == 0 && st.st_ino >= raw(kFirstSpecialIno)) return path;
  }
  return fail(ENOENT, fmt::format("path {} is not a mount point", mount));
}

Result<std::string> read_virtual_file(const std::string& mount, const std::string& name) {
  ZEST_ASSIGN(auto path, virtual_file(mount, name));
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return fail(errno ? errno : EIO, "read " + path);
  return text.str();
}

nlohmann::json read_mount_config(const std::string& mount) {
  auto config = nlohmann::json::parse(read_virtual_file(mount, ".config").value_or(""), nullptr, false);
  return config.is_object() ? config : nlohmann::json();
}

Result<MountStats> MountStats::read(const std::string& mount) {
  ZEST_ASSIGN(auto text, read_virtual_file(mount, ".stats"));
  MountStats stats;
  std::istringstream in(text);
  std::string name;
  for (double value; in >> name >> value;) stats.values_[name] += value;
  return stats;
}

double MountStats::operator[](const std::string& name) const {
  auto it = values_.find("juicefs_" + name);
  return it == values_.end() ? 0 : it->second;
}

double MountStats::sum(const std::string& begin, const std::string& end) const {
  auto from = "juicefs_" + begin;
  double total = 0;
  for (auto it = values_.lower_bound(from); it != values_.end() && it->first.starts_with(from); ++it)
    if (it->first.ends_with(end)) total += it->second;
  return total;
}

namespace {

// The first three numbers of "[uid:0,gid:0,pid:26013]".
void take_ids(const std::string& field, AccessRecord& record) {
  size_t at = 0;
  for (auto* id : {&record.uid, &record.gid, &record.pid}) {
    at = field.find_first_of("0123456789", at);
    if (at == std::string::npos) return;
    auto end = std::min(field.find_first_not_of("0123456789", at), field.size());
    *id = field.substr(at, end - at);
    at = end;
  }
}

// "DATE TIME": local time with microseconds.
std::optional<double> parse_time(const std::string& date, const std::string& clock) {
  std::tm tm{};
  int micros = 0;
  if (sscanf(date.c_str(), "%d.%d.%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday) != 3) return std::nullopt;
  if (sscanf(clock.c_str(), "%d:%d:%d.%d", &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &micros) < 3) return std::nullopt;
  tm.tm_year -= 1900, tm.tm_mon -= 1, tm.tm_isdst = -1;
  return static_cast<double>(mktime(&tm)) + micros / 1e6;
}

}  // namespace

// "2026.11.22 15:07:47.298893 [uid:0,gid:0,pid:26013] create (...) - OK <0.001893>"
std::optional<AccessRecord> parse_access_line(const std::string& text) {
  std::istringstream in(text);
  std::string date, clock, ids;
  AccessRecord record;
  if (!(in >> date >> clock >> ids >> record.operation)) return std::nullopt;
  auto time = parse_time(date, clock);
  auto last = text.rfind(" <");
  if (!time || last == std::string::npos || sscanf(text.c_str() + last, " <%lf>", &record.seconds) != 1)
    return std::nullopt;
  record.time = *time;
  take_ids(ids, record);
  auto begin = in.tellg() < 0 ? last : std::min(static_cast<size_t>(in.tellg()), last);
  auto middle = text.substr(begin, last - begin);
  if (auto status = middle.rfind(" - "); status != std::string::npos) middle.resize(status);
  if (auto open = middle.find('('); open != std::string::npos) middle.erase(0, open);
  auto close = std::min(middle.find("): "), middle.size());
  record.arguments = middle.substr(0, close == middle.size() ? close : close + 1);
  record.result = middle.substr(record.arguments.size());
  return record;
}

Result<AccessLog> AccessLog::open(const std::string& mount) {
  ZEST_ASSIGN(auto path, virtual_file(mount, ".accesslog"));
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(errno, "open " + path);
  return AccessLog(fd);
}

AccessLog::AccessLog(AccessLog&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), pending_(std::move(other.pending_)) {}

AccessLog::~AccessLog() {
  if (fd_ >= 0) close(fd_);
}

Result<void> AccessLog::read(const std::function<void(const std::string&)>& each) {
  char buffer[64 * 1024];
  auto n = ::read(fd_, buffer, sizeof buffer);
  if (n < 0 && errno != EINTR && errno != EAGAIN) return fail(errno, "read the access log");
  if (n > 0) pending_.append(buffer, static_cast<size_t>(n));
  size_t begin = 0;
  for (size_t end; (end = pending_.find('\n', begin)) != std::string::npos; begin = end + 1)
    if (pending_[begin] != '#') each(pending_.substr(begin, end - begin));
  pending_.erase(0, begin);
  return {};
}

}  // namespace zest::cli
