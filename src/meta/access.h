// Permission rules that several operations share (semantics.md sections 3, 4).
#pragma once

#include "meta/api.h"

namespace zest::meta {

struct State;

// A(ino, mask): EACCES when refused. Reads the ACL rule through `txn` if the inode has one.
Result<void> check_access(State&, Txn&, const Context&, const Attr& attr, uint8_t mask);
// EPERM when the sticky bit of the parent protects the node from this caller.
Result<void> check_sticky(const Context&, const Attr& parent, const Attr& node);
// Times of a directory whose entries change; true if set. Never for trash directories. The parent's attributes are part
// of each such transaction anyway, so they are set each time, as POSIX asks. Only in a directory that several clients
// change at once (this one has lost a race there within a second) times younger than skip_dir_mtime_ms stay as they
// are, unless nlink changes, too: a commit that does not write the parent does not make the next one fail.
bool touch_parent(const State&, const Txn&, Ino parent, Attr& attr, Time now, bool nlink_changed);
// Does the atime mode ask for an update?
bool atime_due(AtimeMode mode, const Attr& attr, Time now);
// Reads the node, updates its atime if still due. Errors are only logged.
void touch_atime(State&, Ino ino);

}  // namespace zest::meta
