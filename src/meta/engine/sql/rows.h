// Records to parameters, rows to records (docs/format/sql.md section 4, "column meaning"). Pure functions.
#pragma once

#include "meta/engine/sql/shape.h"
#include "meta/engine/sql/statement.h"

namespace zest::meta::sql {

// The columns that name a record of one row.
Params key_params(const Key& key, Dialect dialect);
// Appends the other columns. EINVAL for what the database cannot hold: ids over 2^31 in signed columns of 32 bits.
Result<void> add_value_params(Params& params, const Key& key, const Value& value, Dialect dialect,
                              const Schema& schema);
// The record in a row whose value columns begin at `column`.
Result<Value> decode_row(const Key& key, const Rows& rows, size_t row, size_t column, bool tier);
Attr decode_node(const Rows& rows, size_t row, size_t column, bool tier);
// The key of a row of a table scan, its key columns beginning at `column`.
Key decode_key(Kind kind, const Rows& rows, size_t row, size_t column);

// Can this database hold (and be asked for) such a name of an extended attribute?
bool storable_xattr_name(const std::string& name, Dialect dialect);

// (inode, sid, owner, type) and (inode, sid, owner, records)
Params flock_params(uint64_t ino, const LockOwner& owner, char type);
Params plock_params(uint64_t ino, const LockOwner& owner, const std::vector<PosixLock>& locks);

}  // namespace zest::meta::sql
