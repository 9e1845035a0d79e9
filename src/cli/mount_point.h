// The directory that a volume is mounted on: made, checked, freed.
#pragma once

#include <string>

#include "base/result.h"

namespace zest::cli {

// Makes the mount point if it is missing (0777) and takes a broken mount away. Errors for people: the root directory,
// no directory, no permission. Gives whether a volume is mounted there that `force` does not allow to be covered.
Result<bool> prepare_mount_point(const std::string& path, bool force);
bool is_mount_point(const std::string& path);
// As root directly, else through fusermount3. `lazy`: also while files are open there.
Result<void> unmount(const std::string& path, bool lazy);

}  // namespace zest::cli
