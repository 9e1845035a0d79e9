#include "meta/engine/sql/sql_database.h"

#include <fmt/format.h>

#include <chrono>

#include "base/spent.h"

namespace zest::meta::sql {
namespace {

constexpr size_t kDefaultConnections = 32;
constexpr auto kConnectionWait = std::chrono::seconds(30);

}  // namespace

// A connection, until the end of the block.
class Database::Lease {
 public:
  Lease(Database& database, std::unique_ptr<Connection> connection)
      : database_(database), connection_(std::move(connection)) {}
  ~Lease() { database_.give_back(std::move(connection_)); }
  Lease(const Lease&) = delete;
  Connection* operator->() { return connection_.get(); }
  Connection& operator*() { return *connection_; }

 private:
  Database& database_;
  std::unique_ptr<Connection> connection_;
};

Database::Database(std::unique_ptr<Driver> driver, Config config)
    : driver_(std::move(driver)), config_(std::move(config)) {}

Result<std::unique_ptr<Connection>> Database::take(bool create) {
  {
    const size_t limit = config_.max_connections ? config_.max_connections : kDefaultConnections;
    std::unique_lock lock(mutex_);
    if (!returned_.wait_for(lock, kConnectionWait, [&] { return !idle_.empty() || open_ < limit; }))
      return fail(EIO, Fault::kUnavailable, "all connections to the database are busy");
    if (!idle_.empty()) {
      auto connection = std::move(idle_.back().connection);
      idle_.pop_back();
      return connection;
    }
    open_++;
  }
  auto connection = driver_->connect(create);
  if (!connection) {
    std::lock_guard lock(mutex_);
    open_--;
    returned_.notify_one();
  }
  return connection;
}

void Database::give_back(std::unique_ptr<Connection> connection) {
  std::vector<Idle> done;  // closed behind the lock, like `connection` where it is not kept
  std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  auto over = [&](int64_t limit_s, Connection::Time since) {
    return limit_s > 0 && now - since > std::chrono::seconds(limit_s);
  };
  const bool healthy = connection && connection->healthy();
  if (healthy && !over(config_.max_life_s, connection->opened))
    idle_.push_back({std::move(connection), now});
  else
    open_--;
  // A server that went away took the others with it.
  while (!idle_.empty() && (!healthy || over(config_.max_idle_s, idle_.front().since) ||
                            (config_.max_idle > 0 && idle_.size() > config_.max_idle))) {
    done.push_back(std::move(idle_.front()));
    idle_.pop_front();
    open_--;
  }
  returned_.notify_one();
}

Result<std::vector<Rows>> Database::run(std::span<const Statement> statements, Connection::Mode mode) {
  ZEST_ASSIGN(auto connection, take(false));
  Lease lease(*this, std::move(connection));
  note_round_trip();
  auto rows = lease->run(statements, mode);
  if (rows || rows.error().code != ENOENT || rows.error().fault != Fault::kPlain) return rows;
  // A table or column that was there is not: the volume was removed or made anew. Look again, then try again.
  forget_schema();
  return fail(EIO, Fault::kConflict, std::move(rows.error().what));
}

Result<Rows> Database::run_one(const Text& text, Params params, Connection::Mode mode) {
  Statement statement{&text, std::move(params)};
  ZEST_ASSIGN(auto rows, run(std::span(&statement, 1), mode));
  return std::move(rows[0]);
}

Result<void> Database::define(std::span<const std::string> statements, bool create) {
  ZEST_ASSIGN(auto connection, take(create));
  Lease lease(*this, std::move(connection));
  for (const auto& statement : statements) {
    note_round_trip();
    ZEST_TRY(lease->define(statement));
  }
  return {};
}

void Database::forget_schema() {
  std::lock_guard lock(schema_mutex_);
  texts_.reset();
}

Result<bool> Database::has_column(Connection& connection, const std::string& table, const std::string& column) {
  std::string sql;
  switch (dialect()) {
    case Dialect::kSqlite:
      sql = fmt::format("SELECT count(*) FROM pragma_table_info('{}') WHERE name='{}'", table, column);
      break;
    case Dialect::kPostgres:
      // As the statements will find it, also where this user has no right to it: that is to be said, not that it is
      // not there.
      sql = fmt::format(
          "SELECT count(*) FROM pg_attribute WHERE attrelid=to_regclass('{}') AND attname='{}' AND NOT attisdropped",
          quoted(dialect(), table), column);
      break;
    case Dialect::kMysql:
      sql = fmt::format(
          "SELECT count(*) FROM information_schema.columns WHERE table_schema=DATABASE() AND table_name='{}' AND "
          "column_name='{}'",
          table, column);
      break;
  }
  ZEST_ASSIGN(auto rows, connection.define(sql));
  return !rows.empty() && rows.integer(0, 0) > 0;
}

Result<bool> Database::has_wide_ids(Connection& connection, const std::string& table) {
  if (dialect() == Dialect::kSqlite) return true;
  const std::string sql =
      dialect() == Dialect::kMysql
          ? fmt::format(
                "SELECT count(*) FROM information_schema.columns WHERE table_schema=DATABASE() AND "
                "table_name='{}' AND column_name IN ('uid','gid','rdev') AND (data_type='bigint' OR "
                "column_type LIKE 'int%unsigned')",
                table)
          : fmt::format(
                "SELECT count(*) FROM pg_attribute WHERE attrelid=to_regclass('{}') AND attname IN "
                "('uid','gid','rdev') AND atttypid='int8'::regtype",
                quoted(dialect(), table));
  ZEST_ASSIGN(auto rows, connection.define(sql));
  return !rows.empty() && rows.integer(0, 0) == 3;
}

// A volume of an old client lacks the tables and columns that came later.
Result<void> Database::complete(Connection& connection) {
  ZEST_ASSIGN(bool tables, has_column(connection, table_name(config_.table_prefix, "acl"), "id"));
  if (!tables)
    for (const auto& statement : creation(dialect(), config_.table_prefix)) ZEST_TRY(connection.define(statement));
  const std::string node = table_name(config_.table_prefix, "node");
  ZEST_ASSIGN(bool columns, has_column(connection, node, "default_acl_id"));
  if (columns) return {};
  for (const auto& [column, statement] : late_columns(dialect(), config_.table_prefix)) {
    ZEST_ASSIGN(bool there, has_column(connection, node, column));
    if (!there) ZEST_TRY(connection.define(statement));
  }
  return {};
}

Result<Schema> Database::look() {
  auto connection = take(false);
  if (!connection && connection.error().code == ENOENT) return Schema{};
  if (!connection) return fail(std::move(connection.error()));
  Lease lease(*this, std::move(*connection));
  Schema schema;
  ZEST_ASSIGN(schema.volume, has_column(*lease, table_name(config_.table_prefix, "setting"), "value"));
  if (!schema.volume) return schema;
  if (!config_.read_only) ZEST_TRY(complete(*lease));
  ZEST_ASSIGN(schema.tier, has_column(*lease, table_name(config_.table_prefix, "node"), "tier_id"));
  ZEST_ASSIGN(schema.user_quota, has_column(*lease, table_name(config_.table_prefix, "user_group_quota"), "qkey"));
  ZEST_ASSIGN(schema.change_log, has_column(*lease, table_name(config_.table_prefix, "change_log"), "entry"));
  ZEST_ASSIGN(schema.wide_ids, has_wide_ids(*lease, table_name(config_.table_prefix, "node")));
  return schema;
}

Result<std::shared_ptr<const Texts>> Database::texts() {
  {
    std::lock_guard lock(schema_mutex_);
    if (texts_ && texts_->schema.volume) return texts_;
  }
  ZEST_ASSIGN(Schema schema, look());
  std::lock_guard lock(schema_mutex_);
  if (texts_ && (texts_->schema.volume || !schema.volume)) return texts_;
  auto texts = std::make_shared<const Texts>(dialect(), config_.table_prefix, schema, next_text_id_);
  next_text_id_ = texts->next_id;
  return texts_ = std::move(texts);
}

Result<void> Database::look_for(bool tier, bool user_quota, bool change_log) {
  {
    std::lock_guard lock(schema_mutex_);
    if (!texts_) return {};
    const Schema& has = texts_->schema;
    if ((has.tier || !tier) && (has.user_quota || !user_quota) && (has.change_log || !change_log)) return {};
  }
  ZEST_ASSIGN(const Schema schema, look());
  std::lock_guard lock(schema_mutex_);
  if (texts_ && texts_->schema != schema) texts_.reset();
  return {};
}

Result<void> Database::add_tier() {
  auto statement = tier_addition(dialect(), config_.table_prefix);
  auto done = define(std::span(&statement, 1), false);
  forget_schema();
  if (done) return {};
  // Another client may have been faster.
  ZEST_ASSIGN(auto now, texts());
  if (now->schema.tier) return {};
  return done;
}

Result<void> Database::add_user_quota() {
  auto done = define(user_quota_creation(dialect(), config_.table_prefix), false);
  forget_schema();
  return done;
}

Result<void> Database::add_change_log() {
  auto done = define(change_log_creation(dialect(), config_.table_prefix), false);
  forget_schema();
  return done;
}

}  // namespace zest::meta::sql
