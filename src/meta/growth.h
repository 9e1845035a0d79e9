// What the operations that change a file's data share: limits, counters and caches around a change of its length.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "meta/state.h"

namespace zest::meta {

// One change of a file's data: what the transaction read of it and what it will write.
struct DataChange {
  Attr before, after;
  // Of a file with several names: where they were in the transaction. To look later would miss a name that another
  // client has taken away, and with it its share of the new length, meanwhile.
  LinkCounts parents = {};
};

// Inside the transaction: checks the limits when the file grows, writes the attributes, counts the space.
Result<void> put_data_change(State& state, Txn& txn, const Context& ctx, Ino ino, DataChange& change);
// After the commit: statistics, quotas, caches. `chunks`: those changed; nothing: any.
void data_changed(State& state, Ino ino, const DataChange& change, std::optional<std::span<const ChunkIndex>> chunks);

// Runs a transaction that ends in put_data_change(). When the answer to the commit was lost, the inode tells whether it
// took effect: `change.after` with its times.
Result<CommitResult> run_data_change(State& state, std::vector<Ino> hot, Ino ino, const DataChange& change,
                                     const std::function<Result<void>(Txn&)>& body);

// Zero records over [from, to) of the file, one a chunk. The first and the last chunk get a list if they have none; the
// chunks between only when they have one (`only_existing_between`) or all of them.
Result<void> append_zeroes(State& state, Txn& txn, Ino ino, uint64_t from, uint64_t to, bool only_existing_between);

}  // namespace zest::meta
