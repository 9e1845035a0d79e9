#include "meta/engine/sql/shape.h"

#include <fmt/format.h>

namespace zest::meta::sql {
namespace {

using Columns = std::vector<const char*>;

Columns node_columns(bool tier) {
  Columns columns{"type",   "flags", "mode",      "uid",           "gid",           "atime",
                  "mtime",  "ctime", "atimensec", "mtimensec",     "ctimensec",     "nlink",
                  "length", "rdev",  "parent",    "access_acl_id", "default_acl_id"};
  if (tier) columns.push_back("tier_id");
  return columns;
}

bool is_nullable(std::string_view column) {
  for (std::string_view name :
       {"rdev", "access_acl_id", "default_acl_id", "tier_id", "owner", "group", "mask", "other"})
    if (column == name) return true;
  return false;
}

const char* kScanPage = "4096";

// Puts the texts of one dialect together.
class Builder {
 public:
  Builder(Dialect dialect, const std::string& prefix, int& next_id)
      : dialect_(dialect), prefix_(prefix), next_id_(next_id) {}

  Text text(std::string sql) { return {next_id_++, std::move(sql), false}; }
  Text check(std::string sql) { return {next_id_++, std::move(sql), true}; }

  std::string q(std::string_view name) const { return quoted(dialect_, name); }
  std::string t(std::string_view table) const { return q(table_name(prefix_, table)); }

  std::string list(const Columns& columns, const std::string& alias = {}) const {
    std::string out;
    for (const char* column : columns) out += (out.empty() ? "" : ",") + (alias.empty() ? "" : alias + ".") + q(column);
    return out;
  }
  std::string where(const Columns& columns, bool compare_null = false) const {
    std::string out;
    for (std::string_view column : columns) {
      if (!out.empty()) out += " AND ";
      out += (compare_null && is_nullable(column) ? "COALESCE(" + q(column) + ",0)" : q(column)) + "=?";
    }
    return out;
  }
  std::string assign(const Columns& columns) const {
    std::string out;
    for (const char* column : columns) out += (out.empty() ? "" : ",") + q(column) + "=?";
    return out;
  }
  static std::string marks(size_t n) {
    std::string out;
    for (size_t i = 0; i < n; i++) out += out.empty() ? "?" : ",?";
    return out;
  }

  enum class Lock { kNone, kShared, kExclusive };
  std::string suffix(Lock lock) const {
    if (dialect_ == Dialect::kSqlite || lock == Lock::kNone) return "";
    if (lock == Lock::kExclusive) return " FOR UPDATE";
    return dialect_ == Dialect::kPostgres ? " FOR SHARE" : " LOCK IN SHARE MODE";
  }

  // A statement that fails unless exactly one row (some: at least one) meets the condition; it locks the row. The
  // server itself must fail, since what follows in the same round trip must not happen.
  Text verify(const std::string& table, const std::string& condition, Lock lock) {
    if (dialect_ == Dialect::kSqlite) return check(fmt::format("SELECT count(*)=1 FROM {} WHERE {}", table, condition));
    if (dialect_ == Dialect::kPostgres)
      return check(
          fmt::format("SELECT 1/count(*) FROM (SELECT 1 FROM {} WHERE {}{}) t", table, condition, suffix(lock)));
    return check(fmt::format("SELECT 9223372036854775807+(COUNT(*)<>1) INTO @ok FROM {} WHERE {}{}", table, condition,
                             suffix(lock)));
  }
  // Fails when a row meets the condition (`wanted` false), or when none does.
  Text verify_exists(const std::string& table, const std::string& condition, bool wanted) {
    auto some = fmt::format("(SELECT 1 FROM {} WHERE {} LIMIT 1) t", table, condition);
    if (dialect_ == Dialect::kSqlite) return check(fmt::format("SELECT count(*)={} FROM {}", wanted ? 1 : 0, some));
    if (dialect_ == Dialect::kPostgres)
      return check(fmt::format("SELECT 1/{} FROM {}", wanted ? "count(*)" : "(1-count(*))", some));
    return check(fmt::format("SELECT 9223372036854775807+(COUNT(*){}0) INTO @ok FROM {}", wanted ? "=" : ">", some));
  }
  // (number, keys...): fails unless so many rows meet the condition.
  Text verify_number(const std::string& table, const std::string& condition) {
    auto counted = fmt::format("(SELECT count(*) AS n FROM {} WHERE {}) t", table, condition);
    if (dialect_ == Dialect::kSqlite) return check("SELECT n=? FROM " + counted);
    if (dialect_ == Dialect::kPostgres) return check("SELECT 1/(CASE WHEN n=? THEN 1 ELSE 0 END) FROM " + counted);
    return check("SELECT 9223372036854775807+(n<>?) INTO @ok FROM " + counted);
  }

  std::string on_conflict(const Columns& unique, const Columns& set) const {
    std::string out;
    if (dialect_ == Dialect::kMysql) {
      for (const char* c : set) out += (out.empty() ? "" : ",") + fmt::format("{0}=VALUES({0})", q(c));
      if (out.empty()) out = fmt::format("{0}={0}", q(unique[0]));
      return " ON DUPLICATE KEY UPDATE " + out;
    }
    for (const char* c : set) out += (out.empty() ? "" : ",") + fmt::format("{0}=excluded.{0}", q(c));
    return fmt::format(" ON CONFLICT ({}) DO {}", list(unique), out.empty() ? "NOTHING" : "UPDATE SET " + out);
  }
  std::string returning(const std::string& what) const {
    return dialect_ == Dialect::kMysql ? "" : " RETURNING " + what;
  }
  std::string byte_length(const std::string& column) const {
    return dialect_ == Dialect::kSqlite ? "length(CAST(" + column + " AS BLOB))" : "length(" + column + ")";
  }
  std::string concatenated(const std::string& column) const {
    switch (dialect_) {
      // The result of || is text to SQLite, whose functions stop at a zero byte.
      case Dialect::kSqlite: return "CAST(" + column + "||? AS BLOB)";
      case Dialect::kPostgres: return column + "||?";
      case Dialect::kMysql: return "CONCAT(" + column + ",?)";
    }
    return {};
  }

  Dialect dialect() const { return dialect_; }

 private:
  const Dialect dialect_;
  const std::string& prefix_;
  int& next_id_;
};

// An xattr's name as bytes, whatever the column's collation.
std::string selected(const Builder& b, Kind kind, const Columns& columns) {
  std::string out;
  for (std::string_view column : columns) {
    bool cast = b.dialect() == Dialect::kMysql && kind == Kind::kXattr && column == "name";
    out += (out.empty() ? "" : ",") + (cast ? "CAST(" + b.q(column) + " AS BINARY)" : b.q(column));
  }
  return out;
}

// Pages of a table. Parameters: the serial number or key after which to go on.
Text scan_text(Builder& b, Kind kind, const Shape& shape) {
  Columns all = shape.keys;
  all.insert(all.end(), shape.values.begin(), shape.values.end());
  static constexpr Kind kSerial[] = {Kind::kEntry, Kind::kChunk, Kind::kXattr, Kind::kSustained};
  std::string order = b.q(shape.keys[0]);
  for (Kind serial : kSerial)
    if (kind == serial) order = b.q("id");
  if (kind == Kind::kSetting || kind == Kind::kCounter)
    return b.text(fmt::format("SELECT {0},{1} FROM {2} WHERE {0}>? ORDER BY {0} LIMIT {3}", b.q("name"), b.q("value"),
                              b.t(shape.table), kScanPage));
  std::string condition = order + ">?";
  if (kind == Kind::kUserQuota || kind == Kind::kGroupQuota) {
    order = b.q("qkey");
    condition = fmt::format("{}={} AND {}>?", b.q("qtype"), kind == Kind::kUserQuota ? 1 : 2, order);
  }
  return b.text(fmt::format("SELECT {},{} FROM {} WHERE {} ORDER BY {} LIMIT {}", order, selected(b, kind, all),
                            b.t(shape.table), condition, order, kScanPage));
}

// To the reference, names of extended attributes are text in MySQL: its tables would take "user.a" and "user.A" for the
// same. Here, another name in the way is an error (the column holds no NULL), where the same name has to be replaced,
// or is a conflict (a number too large).
std::string on_xattr_collision(const Builder& b, bool replaces) {
  const std::string name = b.q("name"), value = b.q("value");
  const std::string same = fmt::format("CAST({0} AS BINARY)=CAST(VALUES({0}) AS BINARY)", name);
  const std::string result = replaces ? fmt::format("IF({},VALUES({}),NULL)", same, value)
                                      : fmt::format("9223372036854775807+IF({},1,NULL)", same);
  return fmt::format(" ON DUPLICATE KEY UPDATE {}={}", value, result);
}

KindTexts kind_texts(Builder& b, Kind kind, bool tier) {
  const Shape& shape = shape_of(kind, tier);
  const bool text_names = kind == Kind::kXattr && b.dialect() == Dialect::kMysql;
  const std::string table = b.t(shape.table),
                    key_match = text_names ? fmt::format("{}=? AND CAST({} AS BINARY)=?", b.q("inode"), b.q("name"))
                                           : b.where(shape.keys);
  Columns all = shape.keys, set = shape.values;
  all.insert(all.end(), shape.values.begin(), shape.values.end());
  set.insert(set.end(), shape.keys.begin() + static_cast<long>(shape.unique), shape.keys.end());
  const Columns unique(shape.keys.begin(), shape.keys.begin() + static_cast<long>(shape.unique));
  std::string full = key_match;
  if (!shape.values.empty()) full += " AND " + b.where(shape.values, true);
  const std::string insert =
      fmt::format("INSERT INTO {} ({}) VALUES ({})", table, b.list(all), Builder::marks(all.size()));
  KindTexts texts;
  texts.select = b.text(
      fmt::format("SELECT {} FROM {} WHERE {}", shape.values.empty() ? "1" : b.list(shape.values), table, key_match));
  texts.verify_shared = b.verify(table, full, Builder::Lock::kShared);
  texts.verify_exclusive = b.verify(table, full, Builder::Lock::kExclusive);
  texts.verify_absent = b.verify_exists(table, key_match, false);
  texts.insert = b.text(insert + (text_names ? on_xattr_collision(b, false) : ""));
  texts.upsert = b.text(insert + (text_names ? on_xattr_collision(b, true) : b.on_conflict(unique, set)));
  if (!shape.values.empty())
    texts.update = b.text(fmt::format("UPDATE {} SET {} WHERE {}", table, b.assign(shape.values), key_match));
  texts.remove = b.text(fmt::format("DELETE FROM {} WHERE {}", table, key_match));
  texts.scan = scan_text(b, kind, shape);
  return texts;
}

void entry_texts(Texts& out, Builder& b, bool tier) {
  const std::string edge = b.t("edge"), node = b.t("node");
  auto follow = [&](const std::string& more) {
    return b.text(fmt::format(
        "SELECT e.{0},e.{1},{2}n.{0} IS NOT NULL,{3} FROM {4} e LEFT JOIN {5} n ON e.{0}=n.{0} WHERE e.{6}=? AND "
        "e.{7}=?",
        b.q("inode"), b.q("type"), more, b.list(node_columns(tier), "n"), edge, node, b.q("parent"), b.q("name")));
  };
  out.follow = follow("0,");
  out.follow_empty =
      follow(fmt::format("EXISTS(SELECT 1 FROM {} c WHERE c.{}=e.{}),", edge, b.q("parent"), b.q("inode")));
  out.has_entries = b.text(fmt::format("SELECT EXISTS(SELECT 1 FROM {} WHERE {}=?)", edge, b.q("parent")));
  out.verify_no_entries = b.verify_exists(edge, b.q("parent") + "=?", false);
  out.verify_some_entries = b.verify_exists(edge, b.q("parent") + "=?", true);
  out.lock_node =
      b.text(fmt::format("SELECT 1 FROM {} WHERE {}=?{}", node, b.q("inode"), b.suffix(Builder::Lock::kExclusive)));
  out.parents =
      b.text(fmt::format("SELECT {0},count(*) FROM {1} WHERE {2}=? GROUP BY {0}", b.q("parent"), edge, b.q("inode")));
  out.list = b.text(fmt::format("SELECT {0},{1},{2} FROM {3} WHERE {4}=? AND {0}>? ORDER BY {0} LIMIT ?", b.q("name"),
                                b.q("inode"), b.q("type"), edge, b.q("parent")));
  out.list_with_attr = b.text(
      fmt::format("SELECT e.{0},e.{1},e.{2},n.{1} IS NOT NULL,{3} FROM {4} e LEFT JOIN {5} n ON e.{1}=n.{1} WHERE "
                  "e.{6}=? AND e.{0}>? ORDER BY e.{0} LIMIT ?",
                  b.q("name"), b.q("inode"), b.q("type"), b.list(node_columns(tier), "n"), edge, node, b.q("parent")));
  out.shared_files = b.text(fmt::format("SELECT {0} FROM {1} WHERE {0}>? AND COALESCE({2},0)=0 ORDER BY {0} LIMIT 1000",
                                        b.q("inode"), node, b.q("parent")));
  out.links =
      b.text(fmt::format("SELECT e.{0},e.{1},count(*) FROM {2} e JOIN {3} n ON e.{0}=n.{0} WHERE n.{0}>? AND n.{0}<=? "
                         "AND COALESCE(n.{1},0)=0 GROUP BY e.{0},e.{1} ORDER BY e.{0}",
                         b.q("inode"), b.q("parent"), edge, node));
}

void lock_texts(Texts& out, Builder& b) {
  const Columns flock{"inode", "sid", "owner", "ltype"}, plock{"inode", "sid", "owner", "records"};
  const std::string by_inode = b.q("inode") + "=?";
  auto of = [&](const char* table, const Columns& columns, const std::string& condition) {
    return b.text(fmt::format("SELECT {} FROM {}{} ORDER BY {},{},{}", b.list(columns), b.t(table), condition,
                              b.q("inode"), b.q("sid"), b.q("owner")));
  };
  auto session = [&](const char* table) {
    return fmt::format(" WHERE {0} IN (SELECT {0} FROM {1} WHERE {2}=?)", b.q("inode"), b.t(table), b.q("sid"));
  };
  out.flocks = of("flock", flock, " WHERE " + by_inode);
  out.plocks = of("plock", plock, " WHERE " + by_inode);
  out.all_flocks = of("flock", flock, "");
  out.all_plocks = of("plock", plock, "");
  out.session_flocks = of("flock", flock, session("flock"));
  out.session_plocks = of("plock", plock, session("plock"));
  out.count_flocks = b.verify_number(b.t("flock"), by_inode);
  out.count_plocks = b.verify_number(b.t("plock"), by_inode);
  out.count_xattrs = b.verify_number(b.t("xattr"), by_inode);
  out.verify_flock = b.verify(b.t("flock"), b.where(flock), Builder::Lock::kExclusive);
  out.verify_plock = b.verify(b.t("plock"), b.where(plock), Builder::Lock::kExclusive);
  out.insert_flock = b.text(fmt::format("INSERT INTO {} ({}) VALUES (?,?,?,?)", b.t("flock"), b.list(flock)));
  out.insert_plock = b.text(fmt::format("INSERT INTO {} ({}) VALUES (?,?,?,?)", b.t("plock"), b.list(plock)));
}

// value = value + ?: the forms of an upsert that refers to the old row.
void addition_texts(Texts& out, Builder& b, const Schema& schema) {
  const bool mysql = b.dialect() == Dialect::kMysql;
  auto upsert = [&](const char* table, const Columns& columns, const Columns& unique, const char* target,
                    const std::string& new_value) {
    std::string insert =
        fmt::format("INSERT INTO {} ({}) VALUES ({})", b.t(table), b.list(columns), Builder::marks(columns.size()));
    return insert +
           (mysql ? fmt::format(" ON DUPLICATE KEY UPDATE {}={}", b.q(target), new_value)
                  : fmt::format(" ON CONFLICT ({}) DO UPDATE SET {}={}", b.list(unique), b.q(target), new_value));
  };
  auto old = [&](const char* table, const char* column) { return b.t(table) + "." + b.q(column); };
  out.add_counter = b.text(upsert("counter", {"name", "value"}, {"name"}, "value", old("counter", "value") + "+?") +
                           b.returning(old("counter", "value")));
  out.read_counter = b.text(fmt::format("SELECT {} FROM {} WHERE {}=?", b.q("value"), b.t("counter"), b.q("name")));
  out.acl_max = b.text(fmt::format("SELECT COALESCE(MAX({}),0) FROM {}", b.q("id"), b.t("acl")));
  if (b.dialect() == Dialect::kPostgres)
    out.acl_bump =
        b.text(fmt::format("SELECT setval(pg_get_serial_sequence(?,'id'),(SELECT MAX(id) FROM {}))", b.t("acl")));
  out.add_ref =
      b.text(upsert("chunk_ref", {"chunkid", "size", "refs"}, {"chunkid"}, "refs", old("chunk_ref", "refs") + "+?"));
  out.drop_ref = b.text(fmt::format("UPDATE {0} SET {1}={1}+? WHERE {2}=? AND {3}=?{4}", b.t("chunk_ref"), b.q("refs"),
                                    b.q("chunkid"), b.q("size"), b.returning(b.q("refs"))));
  out.read_ref = b.text(
      fmt::format("SELECT {} FROM {} WHERE {}=? AND {}=?", b.q("refs"), b.t("chunk_ref"), b.q("chunkid"), b.q("size")));
  const std::string length = b.byte_length(old("chunk", "slices"));
  out.append = b.text(upsert("chunk", {"inode", "indx", "slices"}, {"inode", "indx"}, "slices",
                             b.concatenated(old("chunk", "slices"))) +
                      b.returning(length));
  out.append_if_present =
      b.text(fmt::format("UPDATE {} SET {}={} WHERE {}=? AND {}=?{}", b.t("chunk"), b.q("slices"),
                         b.concatenated(b.q("slices")), b.q("inode"), b.q("indx"), b.returning(length)));
  out.chunk_length =
      b.text(fmt::format("SELECT {} FROM {} WHERE {}=? AND {}=?", length, b.t("chunk"), b.q("inode"), b.q("indx")));
  auto plus = [&](const Columns& columns) {
    std::string text;
    for (const char* column : columns) text += (text.empty() ? "" : ",") + fmt::format("{0}={0}+?", b.q(column));
    return text;
  };
  out.add_dir_stat = b.text(fmt::format("UPDATE {} SET {} WHERE {}=?", b.t("dir_stats"),
                                        plus({"data_length", "used_space", "used_inodes"}), b.q("inode")));
  out.add_dir_quota = b.text(
      fmt::format("UPDATE {} SET {} WHERE {}=?", b.t("dir_quota"), plus({"used_space", "used_inodes"}), b.q("inode")));
  if (schema.user_quota)
    out.add_user_quota = b.text(fmt::format("UPDATE {} SET {} WHERE {}=? AND {}=?", b.t("user_group_quota"),
                                            plus({"used_space", "used_inodes"}), b.q("qtype"), b.q("qkey")));
  for (Text* text : {&out.add_dir_stat, &out.add_dir_quota, &out.add_user_quota}) text->counted = true;
}

void change_log_texts(Texts& out, Builder& b) {
  const auto table = b.t("change_log"), id = b.q("id"), entry = b.q("entry");
  out.log = b.text(fmt::format("INSERT INTO {} ({}) VALUES (?)", table, entry));
  out.log_range = b.text(fmt::format("SELECT COALESCE(MIN({0}),1),COALESCE(MAX({0}),0) FROM {1}", id, table));
  out.log_lines = b.text(fmt::format("SELECT {0},{1} FROM {2} WHERE {0}>=? ORDER BY {0} LIMIT ?", id, entry, table));
  out.log_trim = b.text(fmt::format("DELETE FROM {} WHERE {}<?", table, id));
}

}  // namespace

bool is_one_row(Kind kind) {
  switch (kind) {
    case Kind::kParents:
    case Kind::kXattrs:
    case Kind::kFlocks:
    case Kind::kPlocks:
    case Kind::kHasEntries: return false;
    default: return true;
  }
}

const Shape& shape_of(Kind kind, bool tier) {
  static const Shape kNode{"node", {"inode"}, 1, node_columns(false)},
      kTierNode{"node", {"inode"}, 1, node_columns(true)};
  static const Columns kQuota{"max_space", "max_inodes", "used_space", "used_inodes"};
  static const std::array<Shape, kKinds> kShapes = [] {
    std::array<Shape, kKinds> s;
    auto& of = s;
    auto at = [&](Kind k) -> Shape& { return of[static_cast<size_t>(k)]; };
    at(Kind::kSetting) = {"setting", {"name"}, 1, {"value"}};
    at(Kind::kCounter) = {"counter", {"name"}, 1, {"value"}};
    at(Kind::kEntry) = {"edge", {"parent", "name"}, 2, {"inode", "type"}};
    at(Kind::kChunk) = {"chunk", {"inode", "indx"}, 2, {"slices"}};
    at(Kind::kSymlink) = {"symlink", {"inode"}, 1, {"target"}};
    at(Kind::kXattr) = {"xattr", {"inode", "name"}, 2, {"value"}};
    at(Kind::kDirStat) = {"dir_stats", {"inode"}, 1, {"data_length", "used_space", "used_inodes"}};
    at(Kind::kDirQuota) = {"dir_quota", {"inode"}, 1, kQuota};
    at(Kind::kUserQuota) = at(Kind::kGroupQuota) = {"user_group_quota", {"qtype", "qkey"}, 2, kQuota};
    at(Kind::kSliceRef) = {"chunk_ref", {"chunkid", "size"}, 1, {"refs"}};
    at(Kind::kDelFile) = {"delfile", {"inode", "length"}, 1, {"expire"}};
    at(Kind::kDelSlices) = {"delslices", {"chunkid", "deleted"}, 1, {"slices"}};
    at(Kind::kSustained) = {"sustained", {"sid", "inode"}, 2, {}};
    at(Kind::kSession) = {"session2", {"sid"}, 1, {"expire", "info"}};
    at(Kind::kDetached) = {"detached_node", {"inode"}, 1, {"added"}};
    at(Kind::kAcl) = {"acl", {"id"}, 1, {"owner", "group", "mask", "other", "named_users", "named_groups"}};
    // read and written row by row: only the removal of all rows of an inode is generic
    at(Kind::kXattrs) = {"xattr", {"inode"}, 1, {}};
    at(Kind::kFlocks) = {"flock", {"inode"}, 1, {}};
    at(Kind::kPlocks) = {"plock", {"inode"}, 1, {}};
    return s;
  }();
  if (kind == Kind::kInode) return tier ? kTierNode : kNode;
  return kShapes[static_cast<size_t>(kind)];
}

Texts::Texts(Dialect dialect, const std::string& table_prefix, const Schema& has, int first_id)
    : schema(has), next_id(first_id) {
  Builder b(dialect, table_prefix, next_id);
  for (size_t i = 0; i < kKinds; i++) {
    auto kind = static_cast<Kind>(i);
    if (is_one_row(kind)) kinds[i] = kind_texts(b, kind, schema.tier);
  }
  for (Kind kind : {Kind::kXattrs, Kind::kFlocks, Kind::kPlocks})
    kinds[static_cast<size_t>(kind)].remove =
        b.text(fmt::format("DELETE FROM {} WHERE {}=?", b.t(shape_of(kind, false).table), b.q("inode")));
  xattrs = b.text(fmt::format("SELECT {} FROM {} WHERE {}=?", selected(b, Kind::kXattr, {"name", "value"}),
                              b.t("xattr"), b.q("inode")));
  entry_texts(*this, b, schema.tier);
  lock_texts(*this, b);
  addition_texts(*this, b, schema);
  auto within = [&](Kind kind, const char* column) {
    const Shape& shape = shape_of(kind, false);
    Columns all = shape.keys;
    all.insert(all.end(), shape.values.begin(), shape.values.end());
    return b.text(fmt::format("SELECT {0},{1} FROM {2} WHERE {3}=? AND {0}>? ORDER BY {0} LIMIT {4}", b.q("id"),
                              selected(b, kind, all), b.t(shape.table), b.q(column), kScanPage));
  };
  scan_xattrs_of = within(Kind::kXattr, "inode");
  scan_chunks_of = within(Kind::kChunk, "inode");
  scan_sustained_of = within(Kind::kSustained, "sid");
  if (schema.change_log) change_log_texts(*this, b);
  ping = b.text("SELECT 1");
}

}  // namespace zest::meta::sql
