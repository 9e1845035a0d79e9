// Speaks to a mount through its control file (docs/behaviour/control.md section 5).
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace zest::cli {

namespace op {
inline constexpr uint32_t kRmr = 1002, kInfoLegacy = 1003, kCache = 1004, kInfo = 1005, kClone = 1006, kSummary = 1007,
                          kCompact = 1008;
}

class ControlClient {
 public:
  // Opens the control file of the mount that `path` lies in: in it when it is a directory, else beside it. ENOENT when
  // that is no mount of ours.
  static Result<ControlClient> open(const std::string& path);
  ControlClient(ControlClient&& other) noexcept;
  ~ControlClient();

  struct Progress {
    std::atomic<uint64_t> a{0}, b{0};
  };
  // Sends one request and waits for its end: the JSON or text of the reply, empty for operations that only succeed; the
  // errno that the server gave as an error. Of kInfoLegacy the text of its reply. EINTR when `cancelled` becomes true:
  // the server then stops the job.
  Result<std::string> request(uint32_t op, const std::string& body, Progress* progress,
                              const std::atomic<bool>* cancelled);

 private:
  explicit ControlClient(int fd) : fd_(fd) {}
  int fd_;
};

// The inode of a path inside a mount, and the mount's root directory (where the inode is 1).
Result<uint64_t> inode_of(const std::string& path);
Result<std::string> mount_root_of(const std::string& path);
std::string absolute_path(const std::string& path);  // normalised, without a trailing '/'; symlinks stay

}  // namespace zest::cli
