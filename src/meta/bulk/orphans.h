// Inodes that no entry names, no client holds open and no clone is making: what a crash of some client or a damaged
// database left behind.
#pragma once

#include <vector>

#include "meta/api.h"

namespace zest::meta {

// Adds a problem for each of them; repair gives them a name in /lost+found, their inode number. In bounded memory, and
// safe while others work on the volume. EINTR when cancelled.
Result<void> check_orphans(Meta&, const Context&, bool repair, std::vector<Problem>& problems);

}  // namespace zest::meta
