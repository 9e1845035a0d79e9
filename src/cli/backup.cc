#include "cli/backup.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <map>

#include "base/log.h"
#include "base/mapped_file.h"
#include "cli/open.h"
#include "dump/dump.h"

namespace zest::cli {
namespace {

constexpr char kStamp[] = "lastBackup";
constexpr char kFolder[] = "meta/dump-";
constexpr int64_t kDay = 86'400;
constexpr uint64_t kManyInodes = 1'000'000;
constexpr int64_t kOftenMs = 3'600'000;

// A folder of its own, removed with what is in it.
class TempFolder {
 public:
  Result<void> make() {
    std::error_code error;
    auto base = std::filesystem::temp_directory_path(error);
    std::string name = (error ? std::filesystem::path("/tmp") : base) / "zestfs-backup-XXXXXX";
    if (!mkdtemp(name.data())) return fail(errno, "no temporary folder for the backup");
    path_ = name;
    return {};
  }
  ~TempFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Which backups one of them stands for, by age: none for those that all stay.
std::optional<std::pair<int, int64_t>> period_of(int64_t time_s, int64_t now_s) {
  int64_t age = now_s - time_s;
  if (age < 2 * kDay) return std::nullopt;
  int days = age < 14 * kDay ? 1 : age < 60 * kDay ? 7 : 30;
  return std::pair(days, time_s / (days * kDay));
}

}  // namespace

std::string backup_key(int64_t unix_s) {
  time_t sec = unix_s;
  tm utc{};
  gmtime_r(&sec, &utc);
  return fmt::format("{}{:04}-{:02}-{:02}-{:02}{:02}{:02}.json.gz", kFolder, utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

std::optional<int64_t> time_of_backup(std::string_view key) {
  constexpr size_t kLength = 17;  // 2026-11-30-101500
  if (!key.starts_with(kFolder)) return std::nullopt;
  key.remove_prefix(sizeof(kFolder) - 1);
  if (key.size() <= kLength || key[kLength] != '.') return std::nullopt;
  std::string text(key.substr(0, kLength));
  for (size_t i = 0; i < kLength; i++) {
    bool dash = i == 4 || i == 7 || i == 10;
    if (dash ? text[i] != '-' : text[i] < '0' || text[i] > '9') return std::nullopt;
  }
  tm utc{};
  if (std::sscanf(text.c_str(), "%4d-%2d-%2d-%2d%2d%2d", &utc.tm_year, &utc.tm_mon, &utc.tm_mday, &utc.tm_hour,
                  &utc.tm_min, &utc.tm_sec) != 6)
    return std::nullopt;
  utc.tm_year -= 1900;
  utc.tm_mon -= 1;
  return timegm(&utc);
}

std::vector<std::string> outdated_backups(std::span<const std::string> keys, int64_t now_s) {
  std::vector<std::pair<int64_t, std::string>> known;
  for (auto& key : keys)
    if (auto time = time_of_backup(key)) known.emplace_back(*time, key);
  std::sort(known.begin(), known.end());
  std::vector<std::string> out;
  std::map<std::pair<int, int64_t>, bool> seen;
  for (auto& [time, key] : known)
    if (auto period = period_of(time, now_s); period && !seen.try_emplace(*period, true).second) out.push_back(key);
  return out;
}

std::string rfc3339(Time time) {
  time_t sec = time.sec;
  tm utc{};
  gmtime_r(&sec, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, time.nsec);
}

std::optional<int64_t> parse_rfc3339(const std::string& text) {
  tm utc{};
  int used = 0;
  if (text.size() > 64 || std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &utc.tm_year, &utc.tm_mon,
                                      &utc.tm_mday, &utc.tm_hour, &utc.tm_min, &utc.tm_sec, &used) != 6)
    return std::nullopt;
  auto at = static_cast<size_t>(used);
  if (at < text.size() && text[at] == '.') {
    at++;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') at++;
  }
  int64_t offset = 0;
  auto zone = text.substr(std::min(at, text.size()));
  if (zone != "Z") {
    int hours = 0, minutes = 0;
    char sign = 0;
    if (zone.size() != 6 || std::sscanf(zone.c_str(), "%c%2d:%2d", &sign, &hours, &minutes) != 3) return std::nullopt;
    if (sign != '+' && sign != '-') return std::nullopt;
    offset = (hours * 60 + minutes) * 60 * (sign == '-' ? -1 : 1);
  }
  utc.tm_year -= 1900;
  utc.tm_mon -= 1;
  return timegm(&utc) - offset;
}

Backup::Backup(meta::Meta& meta, object::Storage& storage, const Clock& clock, BackupOptions options)
    : meta_(meta), storage_(storage), clock_(clock), options_(std::move(options)) {
  job_ = std::make_unique<Periodic>("backup", std::max<int64_t>(1000, options_.interval_ms / 10), [this] { poll(); });
}

Backup::~Backup() { stop(); }

void Backup::stop() {
  stop_ = true;
  job_.reset();
}

void Backup::add_metrics(fs::Metrics& out) const {
  out.gauge("last_successful_backup", "Unix time of the last backup of the metadata by this client.",
            static_cast<double>(last_success_.load()));
  out.gauge("last_backup_duration", "Seconds that it took.", static_cast<double>(last_ms_.load()) / 1e3);
}

void Backup::poll() {
  if (auto done = poll_once(); !done && !stop_) log_warning("backup of the metadata: " + done.error().message());
}

Result<void> Backup::poll_once() {
  // A mount of a subdirectory sees that as the root, but a backup is of the whole volume.
  std::unique_ptr<meta::Meta> whole;
  auto& subdir = meta_.options().subdir;
  if (!subdir.empty() && subdir != "/") {
    auto options = meta_.options();
    options.subdir.clear();
    ZEST_ASSIGN(whole, open_volume(options_.url, options));
  }
  auto& meta = whole ? *whole : meta_;
  ZEST_ASSIGN(bool ours, claim(meta));
  if (!ours || stop_) return {};
  auto begin = clock_.monotonic_ms();
  ZEST_TRY(dump(meta));
  last_ms_ = std::max<int64_t>(1, clock_.monotonic_ms() - begin);
  last_success_ = clock_.now().sec;
  return prune();
}

Result<bool> Backup::claim(meta::Meta& meta) {
  auto last = meta.getxattr({}, kRootIno, kStamp);
  if (!last && last.error().code != ENODATA) return fail(std::move(last.error()));
  Time now = clock_.now();
  if (last) {
    auto time = parse_rfc3339(*last);
    int64_t interval_s = (options_.interval_ms + 999) / 1000;
    // A stamp from far in the future is some clock's mistake.
    if (time && now.sec - *time < interval_s && *time - now.sec < interval_s) return false;
  }
  if (options_.interval_ms <= kOftenMs) {
    ZEST_ASSIGN(auto usage, meta.statfs({}, kRootIno));
    if (usage.used_inodes > kManyInodes) {
      if (!warned_)
        log_warning("no backup of the metadata: too many inodes for one an hour, use --backup-meta 8h, say");
      warned_ = true;
      last_ms_ = 0;
      return false;
    }
  }
  auto stamp = rfc3339(now);
  ZEST_TRY(meta.setxattr({}, kRootIno, kStamp, stamp, 0));
  // Two clients may have looked at the same moment: the one that wrote last goes on.
  for (int i = 0; i < 10 && !stop_; i++) clock_.sleep_ms(100);
  ZEST_ASSIGN(auto seen, meta.getxattr({}, kRootIno, kStamp));
  return seen == stamp;
}

Result<void> Backup::dump(meta::Meta& meta) {
  TempFolder folder;
  ZEST_TRY(folder.make());
  auto file = folder.file("dump.json.gz");
  auto key = backup_key(clock_.now().sec);
  {
    ZEST_ASSIGN(auto sink, dump::open_sink(file, dump::Packing::kGzip));
    dump::DumpOptions options;
    options.skip_trash = options_.skip_trash;
    options.cancelled = &stop_;
    ZEST_TRY(dump::dump_json(meta, options, *sink));
  }
  if (stop_) return fail(EINTR, "the client ends");
  ZEST_TRY(store(file, key));
  log_info("backup of the metadata: " + key);
  return {};
}

Result<void> Backup::store(const std::string& file, const std::string& key) {
  ZEST_ASSIGN(auto bytes, MappedFile::open(file));
  ZEST_TRY(storage_.put(key, bytes.view()));
  return storage_.sync();
}

Result<void> Backup::prune() {
  std::vector<std::string> keys;
  ZEST_TRY(object::list_all(storage_, kFolder, [&](const object::ObjectInfo& info) {
    if (!info.is_dir) keys.push_back(info.key);
    return !stop_;
  }));
  for (auto& key : outdated_backups(keys, clock_.now().sec)) ZEST_TRY(storage_.remove(key));
  return {};
}

}  // namespace zest::cli
