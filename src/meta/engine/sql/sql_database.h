// A database: its connections, what tables it has, and the texts of the statements on them. Thread safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "meta/engine/sql/connection.h"
#include "meta/engine/sql/shape.h"
#include "meta/engine/sql/stripes.h"

namespace zest::meta::sql {

class Database {
 public:
  Database(std::unique_ptr<Driver> driver, Config config);

  Dialect dialect() const { return driver_->dialect(); }
  const Config& config() const { return config_; }
  Driver& driver() { return *driver_; }
  Stripes& stripes() { return stripes_; }

  // The texts for the tables that the database has. schema.volume is false when there is no volume yet; that is looked
  // at anew each time until there is one.
  Result<std::shared_ptr<const Texts>> texts();

  // On some connection, in one round trip.
  Result<std::vector<Rows>> run(std::span<const Statement> statements, Connection::Mode mode);
  Result<Rows> run_one(const Text& text, Params params, Connection::Mode mode);
  Result<void> define(std::span<const std::string> statements, bool create);
  // Definitions went over the database: look at it again.
  void forget_schema();

  // Another client may have added what these features need.
  Result<void> look_for(bool tier, bool user_quota, bool change_log);
  Result<void> add_tier();
  Result<void> add_user_quota();
  Result<void> add_change_log();

 private:
  class Lease;
  Result<std::unique_ptr<Connection>> take(bool create);
  void give_back(std::unique_ptr<Connection> connection);
  Result<Schema> look();
  Result<void> complete(Connection& connection);
  Result<bool> has_column(Connection& connection, const std::string& table, const std::string& column);
  Result<bool> has_wide_ids(Connection& connection, const std::string& table);

  const std::unique_ptr<Driver> driver_;
  const Config config_;
  Stripes stripes_;

  std::mutex mutex_;
  std::condition_variable returned_;
  struct Idle {
    std::unique_ptr<Connection> connection;
    Connection::Time since;
  };
  std::deque<Idle> idle_;  // the last used at the end
  size_t open_ = 0;

  std::mutex schema_mutex_;
  std::shared_ptr<const Texts> texts_;
  int next_text_id_ = 0;
};

}  // namespace zest::meta::sql
