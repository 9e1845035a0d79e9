#include "meta/engine/sql/engine_impl.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <type_traits>

#include "base/bytes.h"
#include "meta/engine/sql/rows.h"
#include "meta/engine/sql/sql_txn.h"

namespace zest::meta::sql {
namespace {

// The kind of a table's records, where they are one row each.
Kind kind_of(Table table) {
  switch (table) {
    case Table::kInodes: return Kind::kInode;
    case Table::kEntries: return Kind::kEntry;
    case Table::kChunks: return Kind::kChunk;
    case Table::kSymlinks: return Kind::kSymlink;
    case Table::kXattrTable: return Kind::kXattr;
    case Table::kDirStats: return Kind::kDirStat;
    case Table::kDirQuotas: return Kind::kDirQuota;
    case Table::kUserQuotas: return Kind::kUserQuota;
    case Table::kGroupQuotas: return Kind::kGroupQuota;
    case Table::kSliceRefs: return Kind::kSliceRef;
    case Table::kDelFiles: return Kind::kDelFile;
    case Table::kDelSlicesTable: return Kind::kDelSlices;
    case Table::kSustainedTable: return Kind::kSustained;
    case Table::kSessions: return Kind::kSession;
    case Table::kFlockTable: return Kind::kFlocks;
    case Table::kPlockTable: return Kind::kPlocks;
    case Table::kDetachedNodes: return Kind::kDetached;
    case Table::kAcls: return Kind::kAcl;
    case Table::kCounters: return Kind::kCounter;
    case Table::kParentsTable: return Kind::kParents;
  }
  return Kind::kSetting;
}

}  // namespace

SqlEngine::SqlEngine(std::unique_ptr<Driver> driver, Config config) : database_(std::move(driver), std::move(config)) {
  info_.name = database_.config().name;
  info_.dense_log = true;
}

Result<std::unique_ptr<EngineTxn>> SqlEngine::begin(bool write, std::span<const Ino> hot) {
  // In a file, a wait for another thread costs less than losing to it; over a network only where they really meet.
  auto hold = database_.stripes().enter(write ? hot : std::span<const Ino>(), database_.dialect() == Dialect::kSqlite);
  return std::make_unique<SqlTxn>(database_, write, std::move(hold));
}

Result<std::vector<DirEntry>> SqlEngine::list(Ino dir, std::string& cursor, size_t limit, bool with_attr) {
  std::vector<DirEntry> out;
  limit = std::max<size_t>(limit, 1);
  ZEST_ASSIGN(auto texts, database_.texts());
  if (!texts->schema.volume) {
    cursor.clear();
    return out;
  }
  Params params{Param::unsigned_integer(raw(dir)), Param::blob(cursor), Param::integer(static_cast<int64_t>(limit))};
  ZEST_ASSIGN(auto rows, database_.run_one(with_attr ? texts->list_with_attr : texts->list, std::move(params),
                                           Connection::Mode::kRead));
  out.reserve(rows.size());
  for (size_t i = 0; i < rows.size(); i++) {
    DirEntry entry{rows.bytes(i, 0),
                   {static_cast<FileType>(rows.integer(i, 2)), Ino{static_cast<uint64_t>(rows.integer(i, 1))}},
                   {}};
    if (with_attr && rows.integer(i, 3)) entry.attr = decode_node(rows, i, 4, texts->schema.tier);
    out.push_back(std::move(entry));
  }
  cursor = out.size() < limit ? std::string() : out.back().name;
  return out;
}

Result<void> SqlEngine::scan(Table table, uint64_t within, const Each& each) {
  ZEST_ASSIGN(auto texts, database_.texts());
  if (!texts->schema.volume) return {};
  const Kind kind = kind_of(table);
  switch (kind) {
    case Kind::kParents: return scan_parents(*texts, each);
    case Kind::kFlocks:
    case Kind::kPlocks: return scan_locks(*texts, kind, within, each);
    case Kind::kUserQuota:
    case Kind::kGroupQuota:
      if (!texts->schema.user_quota) {  // another client may have made the table since
        database_.forget_schema();
        ZEST_ASSIGN(texts, database_.texts());
      }
      if (!texts->schema.user_quota) return {};
      break;
    case Kind::kXattr:
      if (within) return scan_pages(*texts, kind, texts->scan_xattrs_of, within, true, each);
      break;
    case Kind::kChunk:
      if (within) return scan_pages(*texts, kind, texts->scan_chunks_of, within, true, each);
      break;
    case Kind::kSustained:
      if (within) return scan_pages(*texts, kind, texts->scan_sustained_of, within, true, each);
      break;
    default: break;
  }
  return scan_pages(*texts, kind, texts->kinds[static_cast<size_t>(kind)].scan, 0, false, each);
}

Result<void> SqlEngine::scan_pages(const Texts& texts, Kind kind, const Text& text, uint64_t within, bool has_within,
                                   const Each& each) {
  const bool by_name = kind == Kind::kCounter;
  Param after = by_name ? Param::text("") : Param::integer(-1);
  for (;;) {
    Params params;
    if (has_within) params.push_back(Param::unsigned_integer(within));
    params.push_back(after);
    ZEST_ASSIGN(auto rows, database_.run_one(text, std::move(params), Connection::Mode::kRead));
    if (rows.empty()) return {};
    // Column 0 is where the next page goes on; a counter's name is that and its key.
    const size_t first = by_name ? 0 : 1, keys = shape_of(kind, false).keys.size();
    for (size_t i = 0; i < rows.size(); i++) {
      Key key = decode_key(kind, rows, i, first);
      if (kind == Kind::kSliceRef && key.a == 0) continue;  // left by some loads: means nothing
      ZEST_ASSIGN(auto value, decode_row(key, rows, i, first + keys, texts.schema.tier));
      if (!each(key, value)) return {};
    }
    const size_t last = rows.size() - 1;
    after = by_name ? Param::text(rows.bytes(last, 0)) : Param::integer(rows.integer(last, 0));
  }
}

// The locks of an inode are neighbours.
Result<void> SqlEngine::scan_locks(const Texts& texts, Kind kind, uint64_t sid, const Each& each) {
  const bool flocks = kind == Kind::kFlocks;
  const Text& text =
      sid ? (flocks ? texts.session_flocks : texts.session_plocks) : (flocks ? texts.all_flocks : texts.all_plocks);
  Params params;
  if (sid) params.push_back(Param::unsigned_integer(sid));
  ZEST_ASSIGN(auto rows, database_.run_one(text, std::move(params), Connection::Mode::kRead));
  for (size_t i = 0; i < rows.size();) {
    const int64_t ino = rows.integer(i, 0);
    FlockMap flock;
    PlockMap plock;
    for (; i < rows.size() && rows.integer(i, 0) == ino; i++) {
      LockOwner owner{static_cast<uint64_t>(rows.integer(i, 1)), static_cast<uint64_t>(rows.integer(i, 2))};
      if (flocks) {
        flock[owner] = static_cast<char>(rows.integer(i, 3));
      } else {
        ZEST_ASSIGN(plock[owner], decode_posix_locks(rows.bytes(i, 3)));
      }
    }
    if (!each({kind, static_cast<uint64_t>(ino)}, flocks ? Value(std::move(flock)) : Value(std::move(plock))))
      return {};
  }
  return {};
}

Result<void> SqlEngine::scan_parents(const Texts& texts, const Each& each) {
  for (int64_t after = 0;;) {
    ZEST_ASSIGN(auto files, database_.run_one(texts.shared_files, {Param::integer(after)}, Connection::Mode::kRead));
    if (files.empty()) return {};
    const int64_t up_to = files.integer(files.size() - 1, 0);
    ZEST_ASSIGN(auto rows, database_.run_one(texts.links, {Param::integer(after), Param::integer(up_to)},
                                             Connection::Mode::kRead));
    for (size_t i = 0; i < rows.size();) {
      const int64_t ino = rows.integer(i, 0);
      LinkCounts links;
      for (; i < rows.size() && rows.integer(i, 0) == ino; i++)
        links[Ino{static_cast<uint64_t>(rows.integer(i, 1))}] = rows.integer(i, 2);
      if (!each(Key::parents(Ino{static_cast<uint64_t>(ino)}), links)) return {};
    }
    after = up_to;
  }
}

Result<int64_t> SqlEngine::add_counter(std::string_view name, int64_t delta) {
  ZEST_ASSIGN(auto texts, database_.texts());
  if (!texts->schema.volume) return fail(ENOENT, "the database has no tables of a volume");
  if (name == counter::kAclMaxId) {
    ZEST_ASSIGN(auto rows, database_.run_one(texts->acl_max, {}, Connection::Mode::kRead));
    return rows.integer(0, 0) + delta;
  }
  std::vector<Statement> statements{
      {&texts->add_counter, {Param::text(std::string(name)), Param::integer(delta), Param::integer(delta)}}};
  if (database_.dialect() == Dialect::kMysql)
    statements.push_back({&texts->read_counter, {Param::text(std::string(name))}});
  for (int attempt = 0;; attempt++) {
    auto rows = database_.run(statements, Connection::Mode::kCommit);
    if (rows) return rows->back().integer(0, 0);
    if (rows.error().fault != Fault::kConflict || attempt >= 50) return fail(std::move(rows.error()));
  }
}

Result<std::shared_ptr<const Texts>> SqlEngine::log_texts() {
  ZEST_TRY(database_.look_for(false, false, true));
  ZEST_ASSIGN(auto texts, database_.texts());
  if (!texts->schema.change_log) texts.reset();
  return texts;
}

Result<LogRange> SqlEngine::log_range() {
  ZEST_ASSIGN(const auto texts, log_texts());
  if (!texts) return LogRange{};
  ZEST_ASSIGN(const auto rows, database_.run_one(texts->log_range, {}, Connection::Mode::kRead));
  return LogRange{rows.integer(0, 0), rows.integer(0, 1)};
}

Result<std::vector<LogLine>> SqlEngine::log_lines(int64_t from, size_t limit) {
  std::vector<LogLine> out;
  ZEST_ASSIGN(const auto texts, log_texts());
  if (!texts) return out;
  Params range{Param::integer(from), Param::integer(static_cast<int64_t>(limit))};
  ZEST_ASSIGN(const auto rows, database_.run_one(texts->log_lines, std::move(range), Connection::Mode::kRead));
  for (size_t i = 0; i < rows.size(); i++) out.push_back({rows.integer(i, 0), rows.bytes(i, 1)});
  return out;
}

Result<void> SqlEngine::trim_log(int64_t first) {
  if (database_.config().read_only) return fail(EROFS);
  ZEST_ASSIGN(const auto texts, log_texts());
  if (texts) ZEST_TRY(database_.run_one(texts->log_trim, {Param::integer(first)}, Connection::Mode::kCommit));
  return {};
}

Result<void> SqlEngine::prepare() {
  if (database_.config().read_only) return fail(EROFS);
  ZEST_TRY(database_.define(creation(database_.dialect(), database_.config().table_prefix), true));
  database_.forget_schema();
  return {};
}

Result<void> SqlEngine::reset() {
  ZEST_ASSIGN(auto texts, database_.texts());
  if (!texts->schema.volume) return {};
  // The settings last: while they are there, a broken-off removal can be repeated.
  std::vector<std::string> drops;
  std::string others;
  for (const char* table : all_tables()) {
    auto name = quoted(database_.dialect(), table_name(database_.config().table_prefix, table));
    if (std::string_view(table) == "setting") continue;
    if (database_.dialect() == Dialect::kSqlite) {
      drops.push_back("DROP TABLE IF EXISTS " + name);
    } else {
      others += (others.empty() ? "" : ",") + name;
    }
  }
  if (!others.empty()) drops.push_back("DROP TABLE IF EXISTS " + others);
  drops.push_back("DROP TABLE IF EXISTS " +
                  quoted(database_.dialect(), table_name(database_.config().table_prefix, "setting")));
  ZEST_TRY(database_.define(drops, false));
  database_.forget_schema();
  return {};
}

Result<void> SqlEngine::ping() {
  ZEST_ASSIGN(auto texts, database_.texts());
  auto answer = database_.run_one(texts->ping, {}, Connection::Mode::kRead);
  if (!answer && answer.error().code != ENOENT) return fail(std::move(answer.error()));
  return {};
}

std::string percent_decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '%' && i + 2 < text.size()) {
      if (auto byte = from_hex(text.substr(i + 1, 2)); byte && byte->size() == 1) {
        out += *byte;
        i += 2;
        continue;
      }
    }
    out.push_back(text[i]);
  }
  return out;
}

std::map<std::string, std::string> parse_query(std::string_view query) {
  std::map<std::string, std::string> out;
  while (!query.empty()) {
    size_t end = std::min(query.find('&'), query.size());
    std::string_view part = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (part.empty()) continue;
    size_t equals = std::min(part.find('='), part.size());
    std::string value(part.substr(std::min(equals + 1, part.size())));
    std::replace(value.begin(), value.end(), '+', ' ');
    out[percent_decode(part.substr(0, equals))] = percent_decode(value);
  }
  return out;
}

Result<Config> take_config(std::map<std::string, std::string>& query, const char* name, const EngineOptions& options) {
  Config config;
  config.name = name;
  config.read_only = options.read_only;
  auto take = [&](const char* key) {
    auto node = query.extract(key);
    return node ? std::move(node.mapped()) : std::string();
  };
  config.table_prefix = take("table_prefix");
  for (char c : config.table_prefix)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-')
      return fail(EINVAL, "table_prefix may only hold letters, digits, _ and -");
  auto number = [&](const char* key, auto& out) -> Result<void> {
    const std::string text = take(key);
    if (text.empty()) return {};
    auto value = parse_uint(text);
    if (!value) return fail(EINVAL, std::string(key) + " is no number");
    out = static_cast<std::remove_reference_t<decltype(out)>>(*value);
    return {};
  };
  ZEST_TRY(number("max_open_conns", config.max_connections));
  ZEST_TRY(number("max_idle_conns", config.max_idle));
  ZEST_TRY(number("max_idle_time", config.max_idle_s));
  ZEST_TRY(number("max_life_time", config.max_life_s));
  return config;
}

Result<std::string> password_of_environment() {
  if (const char* password = std::getenv("META_PASSWORD"); password && *password) return std::string(password);
  const char* path = std::getenv("META_PASSWORD_FILE");
  if (!path || !*path) return std::string();
  std::ifstream file(path);
  if (!file) return fail(EINVAL, std::string("META_PASSWORD_FILE ") + path + " cannot be read");
  std::stringstream text;
  text << file.rdbuf();
  std::string password = text.str();
  auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!password.empty() && blank(password.back())) password.pop_back();
  password.erase(password.begin(), std::find_if_not(password.begin(), password.end(), blank));
  return password;
}

}  // namespace zest::meta::sql
