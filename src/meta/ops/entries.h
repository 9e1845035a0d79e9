// Steps that several operations on directory entries have in common: finding the parent, taking an entry away from its
// inode, and what the ledger is told. Private to meta/ops.
#pragma once

#include <string_view>

#include "meta/state.h"

namespace zest::meta {

// The attributes of a directory that an entry is looked for in: ENOENT, ENOTDIR.
Result<Attr> directory(Txn& txn, Ino ino);

// Runs a change of entries. settled: after a commit of unknown outcome, did it take effect?
Result<CommitResult> run_entries(State& state, std::initializer_list<Ino> hot,
                                 const std::function<Result<void>(Txn&)>& body,
                                 std::function<Result<bool>(Txn&)> settled);

// Statistics and quotas of `dir` when an entry of these attributes comes (+1) or goes (-1). After the commit.
void account_entry(State& state, Ino dir, const Attr& attr, int sign);
// Volume counters, and the owner's, when an inode comes or goes. The first in the transaction, the second after it.
void account_inode_inline(State& state, Txn& txn, const Attr& attr, int sign);
void account_inode(State& state, const Attr& attr, int sign);

// What became of the inode behind an entry that was removed.
enum class Fate {
  kMissing,    // there was none
  kTrashed,    // moved to the trash
  kLinked,     // other names are left
  kSustained,  // no name left, but open in this client
  kDestroyed,
};
struct Removal {
  Fate fate = Fate::kMissing;
  Ino parent{0}, ino{0}, trash{0};
  Attr attr;        // before it; of a missing inode only the type
  XattrMap xattrs;  // for who keeps them, if it was destroyed
};

// Changes the inode behind an entry that is about to be removed (the entry itself is the caller's). For a directory it
// must be known to be empty. trash: the hour directory, 0 for none. At most one read: whether a name in the trash is
// taken, for a file with several names; or the extended attributes, for who keeps them.
Result<Removal> remove_inode(State& state, Txn& txn, const Context& ctx, Ino parent, std::string_view name,
                             const Entry& entry, const std::optional<Attr>& attr, Ino trash, Time now);
// Ledgers, open files, deletion of data, and what the caller may still ask about. After the commit.
void after_removal(State& state, const Context& ctx, const Removal& removal);

}  // namespace zest::meta
