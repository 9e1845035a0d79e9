// One connection to a database server or file. Used by one thread at a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "meta/engine/sql/statement.h"

namespace zest::meta::sql {

class Connection {
 public:
  virtual ~Connection() = default;

  using Time = std::chrono::steady_clock::time_point;
  const Time opened = std::chrono::steady_clock::now();

  enum class Mode : uint8_t {
    kRead,    // all statements see one moment
    kCommit,  // one transaction: all take effect, or none
  };
  // Runs the statements in one round trip and gives the rows of each. Errors: kConflict (serialization, deadlock,
  // duplicate key, a check that failed), kUnavailable (nothing was done), kUnknownOutcome (kCommit, and the connection
  // broke on the way); other errors are EIO with the database's text, or what the driver knows better.
  virtual Result<std::vector<Rows>> run(std::span<const Statement> statements, Mode mode) = 0;

  // One statement outside of a transaction, not prepared: for definitions.
  virtual Result<Rows> define(const std::string& sql) = 0;

  // False: of no more use.
  virtual bool healthy() const = 0;
};

class Driver {
 public:
  virtual ~Driver() = default;
  virtual Dialect dialect() const = 0;
  // kUnavailable when there is no answer; ENOENT when the database is a file that does not exist and `create` is false.
  virtual Result<std::unique_ptr<Connection>> connect(bool create) = 0;
  // Makes what was committed durable, where commits are not.
  virtual Result<void> sync() { return {}; }
};

// What the metadata URL says about the engine itself.
struct Config {
  std::string name;  // of the engine
  std::string table_prefix;
  size_t max_connections = 0;  // 0: as the engine likes
  size_t max_idle = 0;         // 0: all
  int64_t max_idle_s = 300;    // longer unused ones are closed; 0: never
  int64_t max_life_s = 0;      // as are older ones; 0: never
  bool read_only = false;
};

}  // namespace zest::meta::sql
