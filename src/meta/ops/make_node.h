// The common part of mknod, mkdir, symlink, create and tmpfile (semantics.md 6.1). Private to meta/ops.
#pragma once

#include <string_view>

#include "meta/ops/entries.h"

namespace zest::meta {

struct NewNode {
  Ino parent{0};
  std::string_view name;
  FileType type = FileType::kFile;
  uint16_t mode = 0, umask = 0;
  uint32_t rdev = 0;
  std::string_view target;       // of a symlink
  bool accept_existing = false;  // a regular file of that name is the answer, not EEXIST
};

struct MadeNode {
  EntryAttr entry;
  bool existed = false;
};

// Checks 2 to 14 of table 6.1, then the entry and its inode in one transaction. Existence is tested before the limits.
Result<MadeNode> make_node(State& state, const Context& ctx, const NewNode& node);

// The attributes of a new inode below `dir`: owner, mode by umask or default ACL, what is inherited. A rule that has no
// id yet is put into `to_intern`; intern it and run the transaction again.
Result<Attr> new_attr(State& state, Txn& txn, const Context& ctx, const Attr& dir, const NewNode& node, Time now,
                      std::optional<AclRule>& to_intern);

// To the change log.
void log_create(State& state, Txn& txn, const Context& ctx, const NewNode& node, Ino ino, Time now,
                bool parent_touched);

// Runs `attempt` again as long as it stops with a rule to intern.
template <class Attempt>
Result<CommitResult> intern_and_run(State& state, std::optional<AclRule>& to_intern, Attempt attempt) {
  for (;;) {
    to_intern.reset();
    auto done = attempt();
    if (!to_intern) return done;
    ZEST_TRY(state.acls.intern(state, *to_intern));
  }
}

}  // namespace zest::meta
