// Upgrade in place: a new process asks the supervisor of a mount for it. Messages on an abstract Unix socket named by
// the supervisor's process id:
//
//   new: "take over 2\n" + layout of the state table + "\n" + identity
//                                         supervisor: "refused\n" + reason, or "yours" with the device and the table
//   new: "serving" (all is ready)         supervisor: "go", and ends
//
// A connection that closes earlier leaves the mount with the old supervisor.
#pragma once

#include <string>

#include "base/messages.h"
#include "cli/mount_options.h"
#include "volume/format.h"

namespace zest::cli {

constexpr const char* kTakeOver = "take over 2\n";
constexpr const char* kRefused = "refused\n";
constexpr const char* kYours = "yours";
constexpr const char* kServing = "serving";
constexpr const char* kGo = "go";

std::string supervisor_address(int pid);
// The volume, and the options that the kernel's side of a mount depends on: a mount is taken over by its like only.
std::string mount_identity(const MountSettings& settings, const Format& format);

struct Takeover {
  Fd connection, device, table;
};
// EBUSY with the reason when the mount stays where it is. Waits until the old process has finished and flushed.
Result<Takeover> take_over(const std::string& mount_point, const std::string& identity);
// Tells the old supervisor that all is ready. An error: the mount stays with it.
Result<void> settle_takeover(const Takeover& takeover);

}  // namespace zest::cli
