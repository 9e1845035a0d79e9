// The definitions of the tables, as the reference makes them (docs/format/sql.md sections 3, 4, 12).
#include <fmt/format.h>

#include "meta/engine/sql/shape.h"

namespace zest::meta::sql {
namespace {

enum Type { kI64, kI32, kSer64, kSer32, kStr, kS4k, kName, kLink, kBlob, kXattrName, kXattrValue, kLogEntry };

const char* type_name(Dialect dialect, Type type) {
  static constexpr const char* kNames[][3] = {
      // sqlite, postgres, mysql
      {"INTEGER", "BIGINT", "BIGINT(20)"},
      {"INTEGER", "INTEGER", "INT"},
      {"INTEGER PRIMARY KEY AUTOINCREMENT", "BIGSERIAL PRIMARY KEY", "BIGINT(20) PRIMARY KEY AUTO_INCREMENT"},
      {"INTEGER PRIMARY KEY AUTOINCREMENT", "SERIAL PRIMARY KEY", "INT PRIMARY KEY AUTO_INCREMENT"},
      {"TEXT", "VARCHAR(255)", "VARCHAR(255)"},
      {"TEXT", "TEXT", "TEXT"},
      {"BLOB", "BYTEA", "VARBINARY(255)"},
      {"BLOB", "BYTEA", "VARBINARY(4096)"},
      {"BLOB", "BYTEA", "BLOB"},
      // The server's default collation may take user.A and user.a for the same name.
      {"TEXT", "VARCHAR(255)", "VARBINARY(255)"},
      // One byte more than BLOB holds.
      {"BLOB", "BYTEA", "MEDIUMBLOB"},
      // An escaped value can be three times as long as TEXT.
      {"TEXT", "TEXT", "MEDIUMTEXT"},
  };
  return kNames[type][static_cast<int>(dialect)];
}

struct ColumnDef {
  const char* name;
  Type type;
  const char* more = "NOT NULL";
};

struct TableDef {
  const char* name;
  std::vector<ColumnDef> columns;
  std::vector<const char*> primary;  // empty: the serial column
  const char* unique_name = nullptr;
  std::vector<const char*> unique;
  const char* index = nullptr;  // one column
};

const std::vector<TableDef>& tables() {
  static const std::vector<TableDef> defs{
      {"setting", {{"name", kStr}, {"value", kS4k}}, {"name"}},
      {"counter", {{"name", kStr}, {"value", kI64}}, {"name"}},
      {"edge",
       {{"id", kSer64}, {"parent", kI64}, {"name", kName}, {"inode", kI64}, {"type", kI32}},
       {},
       "edge",
       {"parent", "name"},
       "inode"},
      {"node",
       {{"inode", kI64},
        {"type", kI32},
        {"flags", kI32},
        {"mode", kI32},
        {"uid", kI32},
        {"gid", kI32},
        {"atime", kI64},
        {"mtime", kI64},
        {"ctime", kI64},
        {"atimensec", kI32, "NOT NULL DEFAULT 0"},
        {"mtimensec", kI32, "NOT NULL DEFAULT 0"},
        {"ctimensec", kI32, "NOT NULL DEFAULT 0"},
        {"nlink", kI32},
        {"length", kI64},
        {"rdev", kI32, "NULL"},
        {"parent", kI64, "NULL"},
        {"access_acl_id", kI32, "NULL"},
        {"default_acl_id", kI32, "NULL"},
        {"tier_id", kI32, "NULL"}},
       {"inode"}},
      {"symlink", {{"inode", kI64}, {"target", kLink}}, {"inode"}},
      {"xattr",
       {{"id", kSer64}, {"inode", kI64}, {"name", kXattrName}, {"value", kXattrValue}},
       {},
       "name",
       {"inode", "name"}},
      {"chunk", {{"id", kSer64}, {"inode", kI64}, {"indx", kI32}, {"slices", kBlob}}, {}, "chunk", {"inode", "indx"}},
      {"chunk_ref", {{"chunkid", kI64}, {"size", kI32}, {"refs", kI32}}, {"chunkid"}, nullptr, {}, "refs"},
      {"delslices", {{"chunkid", kI64}, {"deleted", kI64}, {"slices", kBlob}}, {"chunkid"}},
      {"session2", {{"sid", kI64}, {"expire", kI64}, {"info", kBlob, "NULL"}}, {"sid"}},
      {"sustained", {{"id", kSer64}, {"sid", kI64}, {"inode", kI64}}, {}, "sustained", {"sid", "inode"}},
      {"delfile", {{"inode", kI64}, {"length", kI64}, {"expire", kI64}}, {"inode"}},
      {"flock",
       {{"id", kSer64}, {"inode", kI64}, {"sid", kI64}, {"owner", kI64}, {"ltype", kI32}},
       {},
       "flock",
       {"inode", "sid", "owner"}},
      {"plock",
       {{"id", kSer64}, {"inode", kI64}, {"sid", kI64}, {"owner", kI64}, {"records", kBlob}},
       {},
       "plock",
       {"inode", "sid", "owner"}},
      {"dir_quota",
       {{"inode", kI64}, {"max_space", kI64}, {"max_inodes", kI64}, {"used_space", kI64}, {"used_inodes", kI64}},
       {"inode"}},
      {"dir_stats", {{"inode", kI64}, {"data_length", kI64}, {"used_space", kI64}, {"used_inodes", kI64}}, {"inode"}},
      {"detached_node", {{"inode", kI64}, {"added", kI64}}, {"inode"}},
      {"acl",
       {{"id", kSer32},
        {"owner", kI32, "NULL"},
        {"group", kI32, "NULL"},
        {"mask", kI32, "NULL"},
        {"other", kI32, "NULL"},
        {"named_users", kBlob, "NULL"},
        {"named_groups", kBlob, "NULL"}},
       {}},
  };
  return defs;
}

const TableDef& user_quota_table() {
  static const TableDef def{"user_group_quota",
                            {{"qtype", kI32},
                             {"qkey", kI64},
                             {"max_space", kI64},
                             {"max_inodes", kI64},
                             {"used_space", kI64},
                             {"used_inodes", kI64}},
                            {"qtype", "qkey"}};
  return def;
}

const TableDef& change_log_table() {
  static const TableDef def{"change_log", {{"id", kSer64}, {"entry", kLogEntry}}, {}};
  return def;
}

std::string column_list(Dialect dialect, const std::vector<const char*>& columns) {
  std::string out;
  for (const char* column : columns) out += (out.empty() ? "" : ",") + quoted(dialect, column);
  return out;
}

void define(Dialect dialect, const std::string& prefix, const TableDef& def, std::vector<std::string>& out) {
  const std::string name = table_name(prefix, def.name), table = quoted(dialect, name);
  std::string columns;
  for (const auto& column : def.columns) {
    if (!columns.empty()) columns += ", ";
    columns += quoted(dialect, column.name) + " " + type_name(dialect, column.type) + " ";
    if (def.primary.size() == 1 && std::string_view(def.primary[0]) == column.name) columns += "PRIMARY KEY ";
    columns += column.more;
  }
  if (def.primary.size() > 1) columns += ", PRIMARY KEY (" + column_list(dialect, def.primary) + ")";
  const std::string unique = def.unique_name ? quoted(dialect, "UQE_" + name + "_" + def.unique_name) : "";
  const std::string index = def.index ? quoted(dialect, "IDX_" + name + "_" + def.index) : "";
  if (dialect == Dialect::kMysql) {  // knows no IF NOT EXISTS for indexes, and takes long to add one
    if (def.unique_name) columns += fmt::format(", UNIQUE KEY {} ({})", unique, column_list(dialect, def.unique));
    if (def.index) columns += fmt::format(", KEY {} ({})", index, quoted(dialect, def.index));
  }
  out.push_back(fmt::format("CREATE TABLE IF NOT EXISTS {} ({})", table, columns));
  if (dialect == Dialect::kMysql) return;
  if (def.unique_name)
    out.push_back(fmt::format("CREATE UNIQUE INDEX IF NOT EXISTS {} ON {} ({})", unique, table,
                              column_list(dialect, def.unique)));
  if (def.index)
    out.push_back(fmt::format("CREATE INDEX IF NOT EXISTS {} ON {} ({})", index, table, quoted(dialect, def.index)));
}

}  // namespace

std::string quoted(Dialect dialect, std::string_view name) {
  const char mark = dialect == Dialect::kPostgres ? '"' : '`';
  std::string out(1, mark);
  for (char c : name) {
    out.push_back(c);
    if (c == mark) out.push_back(c);
  }
  out.push_back(mark);
  return out;
}

std::string table_name(const std::string& prefix, std::string_view table) {
  return "jfs_" + (prefix.empty() ? "" : prefix + "_") + std::string(table);
}

std::vector<std::string> creation(Dialect dialect, const std::string& prefix) {
  std::vector<std::string> out;
  for (const auto& def : tables()) define(dialect, prefix, def, out);
  return out;
}

std::vector<std::string> user_quota_creation(Dialect dialect, const std::string& prefix) {
  std::vector<std::string> out;
  define(dialect, prefix, user_quota_table(), out);
  return out;
}

std::vector<std::string> change_log_creation(Dialect dialect, const std::string& prefix) {
  std::vector<std::string> out;
  define(dialect, prefix, change_log_table(), out);
  return out;
}

std::string tier_addition(Dialect dialect, const std::string& prefix) {
  return fmt::format("ALTER TABLE {} ADD {} {} NULL", quoted(dialect, table_name(prefix, "node")),
                     quoted(dialect, "tier_id"), type_name(dialect, kI32));
}

std::vector<std::pair<std::string, std::string>> late_columns(Dialect dialect, const std::string& prefix) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& def : tables()) {
    if (std::string_view(def.name) != "node") continue;
    for (const auto& column : def.columns) {
      const std::string_view name = column.name;
      if (!name.ends_with("timensec") && !name.ends_with("_acl_id")) continue;
      out.emplace_back(name, fmt::format("ALTER TABLE {} ADD {} {} {}", quoted(dialect, table_name(prefix, "node")),
                                         quoted(dialect, name), type_name(dialect, column.type), column.more));
    }
  }
  return out;
}

const std::vector<const char*>& all_tables() {
  static const std::vector<const char*> names{"setting",          "counter",       "edge",    "node",
                                              "symlink",          "xattr",         "chunk",   "chunk_ref",
                                              "delslices",        "session2",      "session", "sustained",
                                              "delfile",          "flock",         "plock",   "dir_quota",
                                              "dir_stats",        "detached_node", "acl",     "user_group_quota",
                                              "delegation_token", "change_log"};
  return names;
}

}  // namespace zest::meta::sql
