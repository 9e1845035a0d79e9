// Lines of /etc/fstab, and their options as flags of `mount`.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace zest::cli {

// "cache-size=1G,writeback,noatime" -> "--cache-size=1G" "--writeback" "-o" "noatime". What only mount(8) looks at is
// dropped.
std::vector<std::string> flags_of_fstab(const std::string& list);
// Writes or replaces the line of this mount, and makes the helpers /sbin/mount.zestfs and /sbin/mount.fuse.zestfs if
// they are missing. As root only.
Result<void> update_fstab(const std::string& url, const std::string& mount_point, const std::vector<std::string>& argv);
// The options of a command line as fstab has them: sorted, "_netdev,nofail" first.
std::string fstab_options(const std::vector<std::string>& argv);

}  // namespace zest::cli
