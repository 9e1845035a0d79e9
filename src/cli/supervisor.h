// Keeping a mount up: a small process that watches the one that serves, holds the kernel's device and the state table,
// and starts another when it dies (docs/behaviour/client.md, "Processes").
#pragma once

#include "base/messages.h"
#include "cli/daemon.h"
#include "cli/mount_options.h"

namespace zest::cli {

// Between a mount process and its supervisor, over message_pair(). Texts; a line feed ends the word.
namespace link {
constexpr const char* kMounted = "mounted";      // with the device
constexpr const char* kTook = "took over";       // from another supervisor; with the device and the table
constexpr const char* kReady = "ready";          // it answers
constexpr const char* kUnmounted = "unmounted";  // there is nothing to keep up any more
constexpr const char* kHandOver = "hand over";   // to the process: finish, flush, end
constexpr const char* kDrained = "drained";      // it did, and ends now
constexpr const char* kBusy = "busy\n";          // it could not, and goes on; with the reason
}  // namespace link

// What a mount process starts with.
struct Assignment {
  int link = -1;               // to the supervisor
  int table = -1;              // the state table
  int device = -1;             // of a mount whose process died; -1: mount anew
  bool refuse_resent = false;  // what that process was doing may be why it died
  bool take_over = false;      // ask the supervisor of the mount point for the mount
};

// Mounts, and serves until the volume is unmounted; gives the program's exit code: that of the mount process, or 2 when
// it died and could not be helped. `take_over`: the mount point is served already, and is to be taken over. Single
// threaded.
int supervise(const MountSettings& settings, Starter& starter, bool take_over);

}  // namespace zest::cli
