// SQLite: a file in WAL mode, which several processes may share.
//
// Commits of this process queue at a mutex of their own, which is fair and cheap; the file's lock, which SQLite polls,
// is then only contended by other processes. A commit is not synced: sync() does that.
#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "base/bytes.h"
#include "meta/engine/sql/engine_impl.h"
#include "meta/engine/sql/sql_engine.h"

namespace zest::meta::sql {
namespace {

struct SqliteOptions {
  std::string open_name;  // a path, or a file: URI
  std::string path;       // the file itself
  std::string journal = "WAL", synchronous = "NORMAL", cache_size;
  int busy_timeout_ms = 5000;
  bool read_only = false;
};

class SqliteConnection : public Connection {
 public:
  SqliteConnection(sqlite3* db, std::mutex& writer) : db_(db), writer_(writer) {}
  ~SqliteConnection() override {
    for (auto& [id, statement] : prepared_) sqlite3_finalize(statement);
    sqlite3_close_v2(db_);
  }

  Result<std::vector<Rows>> run(std::span<const Statement> statements, Mode mode) override;
  Result<Rows> define(const std::string& sql) override;
  bool healthy() const override { return true; }

 private:
  Result<sqlite3_stmt*> prepare(const Text& text);
  Result<void> execute(const Statement& statement, Rows& rows);
  Result<void> step_all(sqlite3_stmt* prepared, const Text& text, Rows& rows);
  Result<void> simple(const Text& text);
  std::unexpected<Error> error(int rc);

  sqlite3* const db_;
  std::mutex& writer_;
  std::unordered_map<int, sqlite3_stmt*> prepared_;
  // Not of the engine's texts, which number from 0.
  const Text begin_{-1, "BEGIN", false}, begin_write_{-2, "BEGIN IMMEDIATE", false}, commit_{-3, "COMMIT", false},
      rollback_{-4, "ROLLBACK", false};
};

std::unexpected<Error> SqliteConnection::error(int rc) {
  std::string text = std::string("SQLite: ") + sqlite3_errmsg(db_);
  switch (rc & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return fail(EAGAIN, Fault::kUnavailable, std::move(text));
    case SQLITE_CONSTRAINT: return fail(EEXIST, Fault::kConflict, std::move(text));
    case SQLITE_FULL: return fail(ENOSPC, std::move(text));
    case SQLITE_READONLY: return fail(EROFS, std::move(text));
    case SQLITE_NOTADB: return fail(EINVAL, std::move(text));
    case SQLITE_ERROR:
      if (text.find("no such table") != std::string::npos || text.find("no such column") != std::string::npos ||
          text.find("has no column") != std::string::npos)
        return fail(ENOENT, std::move(text));
      break;
    default: break;
  }
  return fail(EIO, std::move(text));
}

Result<sqlite3_stmt*> SqliteConnection::prepare(const Text& text) {
  auto& slot = prepared_[text.id];
  if (slot) return slot;
  int rc = sqlite3_prepare_v3(db_, text.sql.data(), static_cast<int>(text.sql.size()), SQLITE_PREPARE_PERSISTENT, &slot,
                              nullptr);
  if (rc != SQLITE_OK) {
    slot = nullptr;
    return error(rc);
  }
  return slot;
}

int bind(sqlite3_stmt* prepared, int index, const Param& p) {
  switch (p.type) {
    case Param::Type::kNull: return sqlite3_bind_null(prepared, index);
    case Param::Type::kInt: return sqlite3_bind_int64(prepared, index, p.i);
    case Param::Type::kText:
      return sqlite3_bind_text64(prepared, index, p.s.data(), p.s.size(), SQLITE_STATIC, SQLITE_UTF8);
    case Param::Type::kBlob:  // a null pointer would be NULL
      return sqlite3_bind_blob64(prepared, index, p.s.empty() ? "" : p.s.data(), p.s.size(), SQLITE_STATIC);
  }
  return SQLITE_MISUSE;
}

Cell cell_of(sqlite3_stmt* prepared, int column) {
  switch (sqlite3_column_type(prepared, column)) {
    case SQLITE_NULL: return {};
    case SQLITE_INTEGER: return sqlite3_column_int64(prepared, column);
    case SQLITE_FLOAT: return static_cast<int64_t>(sqlite3_column_double(prepared, column));
    default: {
      auto* data = static_cast<const char*>(sqlite3_column_blob(prepared, column));
      auto size = static_cast<size_t>(sqlite3_column_bytes(prepared, column));
      return data ? std::string(data, size) : std::string();
    }
  }
}

Result<void> SqliteConnection::step_all(sqlite3_stmt* prepared, const Text& text, Rows& rows) {
  const int width = sqlite3_column_count(prepared);
  rows.width = static_cast<size_t>(width);
  for (;;) {
    int rc = sqlite3_step(prepared);
    if (rc == SQLITE_DONE) break;
    if (rc != SQLITE_ROW) return error(rc);
    for (int i = 0; i < width; i++) rows.cells.push_back(cell_of(prepared, i));
  }
  if (width == 0) rows.affected = sqlite3_changes(db_);
  if (text.check && (rows.empty() || rows.integer(0, 0) != 1))
    return fail(EAGAIN, Fault::kConflict, "a record changed");
  return {};
}

Result<void> SqliteConnection::execute(const Statement& statement, Rows& rows) {
  ZEST_ASSIGN(sqlite3_stmt * prepared, prepare(*statement.text));
  int index = 0;
  for (const auto& param : statement.params)
    if (int rc = bind(prepared, ++index, param); rc != SQLITE_OK) return error(rc);
  auto done = step_all(prepared, *statement.text, rows);
  sqlite3_reset(prepared);
  return done;
}

Result<void> SqliteConnection::simple(const Text& text) {
  Rows rows;
  return execute({&text, {}}, rows);
}

Result<std::vector<Rows>> SqliteConnection::run(std::span<const Statement> statements, Mode mode) {
  std::vector<Rows> rows(statements.size());
  const bool write = mode == Mode::kCommit;
  if (!write && statements.size() == 1) {
    ZEST_TRY(execute(statements[0], rows[0]));
    return rows;
  }
  std::unique_lock<std::mutex> turn(writer_, std::defer_lock);
  if (write) turn.lock();
  ZEST_TRY(simple(write ? begin_write_ : begin_));
  for (size_t i = 0; i < statements.size(); i++) {
    auto done = execute(statements[i], rows[i]);
    if (done) continue;
    if (!sqlite3_get_autocommit(db_)) (void)simple(rollback_);
    return fail(std::move(done.error()));
  }
  if (auto done = simple(commit_); !done) {
    if (!sqlite3_get_autocommit(db_)) (void)simple(rollback_);
    return fail(std::move(done.error()));
  }
  return rows;
}

Result<Rows> SqliteConnection::define(const std::string& sql) {
  std::lock_guard turn(writer_);
  sqlite3_stmt* prepared = nullptr;
  int rc = sqlite3_prepare_v2(db_, sql.data(), static_cast<int>(sql.size()), &prepared, nullptr);
  if (rc != SQLITE_OK) return error(rc);
  Rows rows;
  auto done = step_all(prepared, Text{}, rows);
  sqlite3_finalize(prepared);
  if (!done) return fail(std::move(done.error()));
  return rows;
}

class SqliteDriver : public Driver {
 public:
  explicit SqliteDriver(SqliteOptions options) : options_(std::move(options)) {}
  Dialect dialect() const override { return Dialect::kSqlite; }
  Result<std::unique_ptr<Connection>> connect(bool create) override;
  Result<void> sync() override;

 private:
  Result<void> set_up(SqliteConnection& connection, bool create);
  const SqliteOptions options_;
  std::mutex writer_;
  std::once_flag folder_synced_;
};

Result<std::unique_ptr<Connection>> SqliteDriver::connect(bool create) {
  struct stat st;
  if (!create && ::stat(options_.path.c_str(), &st) != 0) return fail(errno == ENOENT ? ENOENT : errno, options_.path);
  int flags = options_.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (create && !options_.read_only) flags |= SQLITE_OPEN_CREATE;
  sqlite3* db = nullptr;
  int rc = sqlite3_open_v2(options_.open_name.c_str(), &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, nullptr);
  if (rc != SQLITE_OK) {
    std::string text = fmt::format("cannot open {}: {}", options_.path, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    int system = db ? sqlite3_system_errno(db) : 0;
    sqlite3_close_v2(db);
    return fail(system ? system : EIO, std::move(text));
  }
  sqlite3_extended_result_codes(db, 1);
  sqlite3_busy_timeout(db, options_.busy_timeout_ms);
  auto connection = std::make_unique<SqliteConnection>(db, writer_);
  ZEST_TRY(set_up(*connection, create));
  return connection;
}

Result<void> SqliteDriver::set_up(SqliteConnection& connection, bool create) {
  ZEST_TRY(connection.define("PRAGMA synchronous=" + options_.synchronous));
  if (!options_.cache_size.empty()) ZEST_TRY(connection.define("PRAGMA cache_size=" + options_.cache_size));
  // Copying the log back costs two syncs each time: seldom, then.
  ZEST_TRY(connection.define("PRAGMA wal_autocheckpoint=4000"));
  if (options_.read_only) return {};
  // A database that holds no volume is not ours to change.
  ZEST_ASSIGN(auto ours,
              connection.define("SELECT count(*) FROM sqlite_master WHERE name LIKE 'jfs\\_%setting' ESCAPE '\\'"));
  if (!create && ours.integer(0, 0) == 0) return {};
  ZEST_ASSIGN(auto mode, connection.define("PRAGMA journal_mode"));
  std::string wanted = options_.journal, now = mode.bytes(0, 0);
  for (auto* s : {&wanted, &now})
    std::transform(s->begin(), s->end(), s->begin(), [](unsigned char c) { return std::tolower(c); });
  if (now != wanted) ZEST_TRY(connection.define("PRAGMA journal_mode=" + options_.journal));
  return {};
}

// Not for the database itself: closing any descriptor of a file drops all locks that this process holds on it
// (fcntl(2)), SQLite's too, and the next process to leave would then delete the log that this one still writes.
Result<void> sync_file(const std::string& path, bool must_exist) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT && !must_exist) return {};
    return fail(errno, path);
  }
  int failed = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  if (failed) return fail(failed, "sync of " + path);
  return {};
}

// What is not in the log any more has been copied into the file, which SQLite synced then.
Result<void> SqliteDriver::sync() {
  ZEST_TRY(sync_file(options_.path + "-wal", false));
  Result<void> folder;
  std::call_once(folder_synced_, [&] {
    size_t slash = options_.path.rfind('/');
    folder = sync_file(slash == std::string::npos ? "." : options_.path.substr(0, slash + 1), true);
  });
  return folder;
}

// Only words and numbers may go into a PRAGMA.
bool plain_word(const std::string& s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](unsigned char c) { return std::isalnum(c) || c == '-'; });
}

}  // namespace

Result<std::unique_ptr<Engine>> open_sqlite(const std::string& rest, const EngineOptions& options) {
  size_t question = std::min(rest.find('?'), rest.size());
  SqliteOptions sqlite;
  sqlite.path = rest.substr(0, question);
  auto query = parse_query(std::string_view(rest).substr(std::min(question + 1, rest.size())));
  ZEST_ASSIGN(auto config, take_config(query, "sqlite3", options));
  auto setting = [&](std::initializer_list<const char*> keys, std::string& value) {
    for (const char* key : keys) {
      auto it = query.find(key);
      if (it == query.end()) continue;
      value = it->second;
      query.erase(it);
    }
  };
  std::string timeout;
  setting({"_journal", "_journal_mode"}, sqlite.journal);
  setting({"_sync", "_synchronous"}, sqlite.synchronous);
  setting({"_cache_size"}, sqlite.cache_size);
  setting({"_timeout", "_busy_timeout"}, timeout);
  if (!plain_word(sqlite.journal) || !plain_word(sqlite.synchronous) ||
      (!sqlite.cache_size.empty() && !plain_word(sqlite.cache_size)))
    return fail(EINVAL, "a parameter of the SQLite URL is no word or number");
  if (!timeout.empty()) {
    auto ms = parse_uint(timeout);
    if (!ms || *ms > 3'600'000) return fail(EINVAL, "the timeout in the SQLite URL is no number of milliseconds");
    sqlite.busy_timeout_ms = static_cast<int>(*ms);
  }
  sqlite.read_only = options.read_only;
  sqlite.open_name = sqlite.path;
  if (sqlite.path.starts_with("file:")) {
    sqlite.path = sqlite.path.substr(5);
    if (sqlite.path.starts_with("//"))
      sqlite.path = sqlite.path.substr(std::min(sqlite.path.find('/', 2), sqlite.path.size()));
    char mark = '?';
    for (const char* key : {"vfs", "immutable", "mode"})
      if (auto it = query.find(key); it != query.end())
        sqlite.open_name += std::exchange(mark, '&') + std::string(key) + "=" + it->second;
  }
  if (sqlite.path.empty()) return fail(EINVAL, "the SQLite URL names no file");
  return std::make_unique<SqlEngine>(std::make_unique<SqliteDriver>(std::move(sqlite)), std::move(config));
}

}  // namespace zest::meta::sql
