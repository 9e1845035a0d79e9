// Tables and columns of the records (docs/format/sql.md section 4), and the texts of all statements on them.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "meta/engine/sql/statement.h"
#include "meta/txn.h"

namespace zest::meta::sql {

constexpr size_t kKinds = static_cast<size_t>(Kind::kHasEntries) + 1;

// What a database has of the tables and columns that not every volume has.
struct Schema {
  bool volume = false;  // the tables are there
  bool tier = false;    // node.tier_id
  bool user_quota = false;
  bool change_log = false;
  bool wide_ids = false;  // node.uid, gid and rdev were widened: they hold 32 bits and more
  friend bool operator==(const Schema&, const Schema&) = default;
};

// A kind of record that is one row.
struct Shape {
  const char* table = nullptr;
  std::vector<const char*> keys;  // what names the record; the first `unique` of them are the table's unique key
  size_t unique = 0;
  std::vector<const char*> values;
};
const Shape& shape_of(Kind kind, bool tier);
bool is_one_row(Kind kind);

// Statements of one kind of record. Parameters: keys, in order; insert and upsert: keys, then values; update: values,
// then keys; verify: keys, then values.
struct KindTexts {
  Text select, verify_shared, verify_exclusive, verify_absent, insert, upsert, update, remove, scan;
};

struct Texts {
  Texts(Dialect dialect, const std::string& table_prefix, const Schema& schema, int first_id);

  const Schema schema;
  std::array<KindTexts, kKinds> kinds;
  Text follow,
      follow_empty;  // entry (parent, name): inode, type, [is any entry in it,] is there a node, node's columns
  Text has_entries, verify_no_entries, verify_some_entries, lock_node;
  Text parents, xattrs, flocks, plocks;           // all of an inode
  Text count_xattrs, count_flocks, count_plocks;  // checks: (inode, number)
  Text verify_flock, verify_plock;                // checks: all columns
  Text insert_flock, insert_plock;
  Text add_counter, read_counter;                    // (name, delta, delta)
  Text acl_max, acl_bump;                            // bump: postgres only, after inserting an id
  Text add_ref, drop_ref, read_ref;                  // add: (id, size, delta, delta); drop: (delta, id, size)
  Text append, append_if_present, chunk_length;      // append: (inode, indx, slices, slices)
  Text add_dir_stat, add_dir_quota, add_user_quota;  // deltas, then keys
  Text list, list_with_attr;                         // (parent, after, limit)
  Text all_flocks, all_plocks, session_flocks, session_plocks;  // (), (sid)
  Text scan_xattrs_of, scan_chunks_of, scan_sustained_of;       // (inode or sid, after id, limit)
  Text shared_files, links;                                     // (after, limit); (after, up to)
  Text log, log_range, log_lines, log_trim;                     // (entry), (), (from, limit), (first)
  Text ping;
  int next_id = 0;  // first id not used here
};

std::string quoted(Dialect dialect, std::string_view name);
std::string table_name(const std::string& prefix, std::string_view table);  // "jfs_node", "jfs_P_node"

// CREATE TABLE and CREATE INDEX of a volume, in order.
std::vector<std::string> creation(Dialect dialect, const std::string& prefix);
std::vector<std::string> user_quota_creation(Dialect dialect, const std::string& prefix);
std::vector<std::string> change_log_creation(Dialect dialect, const std::string& prefix);
std::string tier_addition(Dialect dialect, const std::string& prefix);
// Columns of `node` that volumes of the first releases lack: name, and the statement that adds it.
std::vector<std::pair<std::string, std::string>> late_columns(Dialect dialect, const std::string& prefix);
// Every table that a volume may have.
const std::vector<const char*>& all_tables();

}  // namespace zest::meta::sql
