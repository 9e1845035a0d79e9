// Serving a mount, from opening the database to the last flush.
#pragma once

#include "cli/daemon.h"
#include "cli/mount_options.h"
#include "cli/supervisor.h"

namespace zest::cli {

// The exit code of a client that took its mount away itself: the volume is gone, or what is buffered had to be flushed
// while files were still open.
constexpr int kUnmountedItself = 11;

// Returns the program's exit code when the volume is unmounted, or could not be mounted (the error is logged and told
// to `starter`), or when it was handed over. Signals: TERM and INT unmount, HUP flushes and opens the log again.
int serve_mount(const MountSettings& settings, Starter& starter, const Assignment& assignment);

}  // namespace zest::cli
