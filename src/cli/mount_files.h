// What a mount tells of itself through its virtual files: .stats, .config and .accesslog (docs/behaviour/control.md).
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "base/result.h"

namespace zest::cli {

// Is the path the root of a mount (inode 1)? ENOTDIR otherwise, with the reference's wording.
Result<void> check_mount_point(const std::string& path);

// A virtual file of a mount: "DIR/.jfs<name>" when it is there, else "DIR/<name>". ENOENT.
Result<std::string> virtual_file(const std::string& mount, const std::string& name);
Result<std::string> read_virtual_file(const std::string& mount, const std::string& name);
// What a mount says of itself in .config; null when it cannot be read or is no object.
nlohmann::json read_mount_config(const std::string& mount);

// The numbers of .stats by their full names; those of one name are added up.
class MountStats {
 public:
  static Result<MountStats> read(const std::string& mount);
  double operator[](const std::string& name) const;  // without the prefix "juicefs_"; 0: none
  // Of the values whose names begin and end so, the sum.
  double sum(const std::string& begin, const std::string& end) const;
  bool has(const std::string& name) const { return values_.contains("juicefs_" + name); }

 private:
  std::map<std::string, double> values_;
};

// A line of an access log.
struct AccessRecord {
  double time = 0;  // seconds since the epoch, when it ended
  std::string uid, gid, pid, operation;
  std::string arguments;  // "(1,a.txt)"
  std::string result;     // what stands between the arguments and the status, ": (4096)"; may be empty
  double seconds = 0;
};
std::optional<AccessRecord> parse_access_line(const std::string& text);

// A mount's access log as it grows.
class AccessLog {
 public:
  static Result<AccessLog> open(const std::string& mount);
  AccessLog(AccessLog&& other) noexcept;
  ~AccessLog();
  // Gives the lines that come within about a second, without their ends.
  Result<void> read(const std::function<void(const std::string&)>& each);

 private:
  explicit AccessLog(int fd) : fd_(fd) {}
  int fd_;
  std::string pending_;
};

}  // namespace zest::cli
