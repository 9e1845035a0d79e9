// PostgreSQL by libpq in pipeline mode: all statements of a call go out together, and so do their answers come back.
//
// A commit needs no BEGIN and COMMIT: statements up to one synchronisation point are one transaction to the server. An
// error takes all of it back, and the client has no say in between, which is why the checks are statements that fail.
#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <set>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "meta/engine/sql/engine_impl.h"
#include "meta/engine/sql/sql_engine.h"

namespace zest::meta::sql {
namespace {

constexpr int64_t kAnswerTimeoutMs = 60'000;

// "a=? AND b=?" to "a=$1 AND b=$2".
std::string numbered(const std::string& sql) {
  std::string out;
  int n = 0;
  for (char c : sql) {
    if (c == '?') {
      out += "$" + std::to_string(++n);
    } else {
      out.push_back(c);
    }
  }
  return out;
}

Error classify(std::string_view state, std::string text) {
  for (std::string_view s : {"40001", "40P01", "23505", "22012", "55P03", "25P02", "0A000", "26000", "42P05", "57014"})
    if (state == s) return {EAGAIN, Fault::kConflict, std::move(text)};
  for (std::string_view s : {"57P01", "57P02", "57P03", "57P05", "25P03", "53300", "25006"})
    if (state == s) return {EIO, Fault::kUnavailable, std::move(text)};
  if (state.starts_with("08")) return {EIO, Fault::kUnavailable, std::move(text)};
  if (state == "42P01" || state == "42703") return {ENOENT, Fault::kPlain, std::move(text)};
  if (state.starts_with("28") || state == "42501") return {EACCES, Fault::kPlain, std::move(text)};
  if (state.starts_with("22")) return {EINVAL, Fault::kPlain, std::move(text)};
  if (state == "53100") return {ENOSPC, Fault::kPlain, std::move(text)};
  return {EIO, Fault::kPlain, std::move(text)};
}

uint64_t big_endian(const char* data, int size) {
  uint64_t v = 0;
  for (int i = 0; i < size; i++) v = v << 8 | static_cast<uint8_t>(data[i]);
  return v;
}

// Results come in binary.
Cell cell_of(const PGresult* result, int row, int column) {
  if (PQgetisnull(result, row, column)) return {};
  const char* data = PQgetvalue(result, row, column);
  const int size = PQgetlength(result, row, column);
  switch (PQftype(result, column)) {
    case 16: return static_cast<int64_t>(data[0]);                                       // bool
    case 20: return static_cast<int64_t>(big_endian(data, size));                        // int8
    case 21: return static_cast<int64_t>(static_cast<int16_t>(big_endian(data, size)));  // int2
    case 23: return static_cast<int64_t>(static_cast<int32_t>(big_endian(data, size)));  // int4
    default: return std::string(data, static_cast<size_t>(size));
  }
}

// A statement's name is made of its text: behind a pooler a connection of the server may have had other clients, and
// what they prepared under this name is the same.
std::string name_of(const std::string& sql) { return fmt::format("zest_{:016x}", std::hash<std::string>()(sql)); }

class PgConnection : public Connection {
 public:
  // unprepared: whether to send every statement whole; set when a server is met that keeps none.
  PgConnection(PGconn* db, std::atomic<bool>& unprepared) : db_(db), unprepared_(unprepared) {}
  ~PgConnection() override { PQfinish(db_); }

  Result<std::vector<Rows>> run(std::span<const Statement> statements, Mode mode) override;
  Result<Rows> define(const std::string& sql) override;
  bool healthy() const override { return !broken_ && PQstatus(db_) == CONNECTION_OK; }
  Result<void> start();

 private:
  // One command of a pipeline, and where its rows go.
  struct Command {
    std::string prepares;  // a name; empty: it prepares nothing
    Rows* rows = nullptr;
  };

  bool send(const Statement& statement, Rows* rows);
  bool send_plain(const char* sql, Rows* rows);
  Result<std::vector<Rows>> run_once(std::span<const Statement> statements, Mode mode);
  // Sends what is queued, reads all answers.
  Result<void> exchange(Mode mode);
  Result<void> wait(bool writing, int64_t until_ms);
  void take_result(const PGresult* result, const Command& command);
  std::unexpected<Error> lost(Mode mode, bool all_sent);

  PGconn* const db_;
  std::atomic<bool>& unprepared_;
  bool broken_ = false;
  std::set<std::string> names_;          // what is prepared
  std::map<int, std::string> prepared_;  // those, by the ids of their texts
  std::vector<Command> commands_;
  std::string state_, error_;  // of the first command that failed
};

bool PgConnection::send_plain(const char* sql, Rows* rows) {
  commands_.push_back({{}, rows});
  return PQsendQueryParams(db_, sql, 0, nullptr, nullptr, nullptr, nullptr, 1) == 1;
}

bool PgConnection::send(const Statement& statement, Rows* rows) {
  const bool prepares = !unprepared_;
  const auto known = prepared_.find(statement.text->id);
  std::string sql, name;
  if (prepares && known != prepared_.end()) {
    name = known->second;
  } else {
    sql = numbered(statement.text->sql);
    if (prepares) name = name_of(sql);
    const bool pending = std::any_of(commands_.begin(), commands_.end(),
                                     [&](const Command& command) { return command.prepares == name; });
    if (prepares && names_.contains(name)) {
      prepared_.emplace(statement.text->id, name);
    } else if (prepares && !pending) {
      commands_.push_back({name, nullptr});
      if (!PQsendPrepare(db_, name.c_str(), sql.c_str(), 0, nullptr)) return false;
    }
  }
  const size_t n = statement.params.size();
  std::vector<std::string> numbers(n);
  std::vector<const char*> values(n);
  std::vector<int> lengths(n), formats(n);
  for (size_t i = 0; i < n; i++) {
    const auto& p = statement.params[i];
    if (p.type == Param::Type::kNull) continue;
    if (p.type == Param::Type::kInt) numbers[i] = std::to_string(p.i);
    const std::string& bytes = p.type == Param::Type::kInt ? numbers[i] : p.s;
    values[i] = bytes.c_str();
    lengths[i] = static_cast<int>(bytes.size());
    formats[i] = p.type == Param::Type::kBlob ? 1 : 0;
  }
  commands_.push_back({{}, rows});
  const int count = static_cast<int>(n);
  return 1 ==
         (prepares
              ? PQsendQueryPrepared(db_, name.c_str(), count, values.data(), lengths.data(), formats.data(), 1)
              : PQsendQueryParams(db_, sql.c_str(), count, nullptr, values.data(), lengths.data(), formats.data(), 1));
}

std::unexpected<Error> PgConnection::lost(Mode mode, bool all_sent) {
  broken_ = true;
  std::string text = "PostgreSQL: the connection was lost";
  if (mode == Mode::kCommit && all_sent) return fail(EIO, Fault::kUnknownOutcome, std::move(text));
  return fail(EIO, Fault::kUnavailable, std::move(text));
}

Result<void> PgConnection::wait(bool writing, int64_t until_ms) {
  struct pollfd fd {
    PQsocket(db_), static_cast<short>(POLLIN | (writing ? POLLOUT : 0)), 0
  };
  for (;;) {
    int64_t left = until_ms - system_clock().monotonic_ms();
    if (left <= 0) return fail(ETIMEDOUT);
    int n = ::poll(&fd, 1, static_cast<int>(left));
    if (n > 0) return {};
    if (n < 0 && errno != EINTR) return fail(errno);
  }
}

void PgConnection::take_result(const PGresult* result, const Command& command) {
  switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
      if (!command.prepares.empty()) names_.insert(command.prepares);
      if (command.rows) command.rows->affected = parse_int(PQcmdTuples(const_cast<PGresult*>(result))).value_or(0);
      break;
    case PGRES_TUPLES_OK: {
      if (!command.rows) break;
      const int rows = PQntuples(result), width = PQnfields(result);
      command.rows->width = static_cast<size_t>(width);
      command.rows->affected = rows;
      command.rows->cells.reserve(static_cast<size_t>(rows * width));
      for (int r = 0; r < rows; r++)
        for (int c = 0; c < width; c++) command.rows->cells.push_back(cell_of(result, r, c));
      break;
    }
    case PGRES_PIPELINE_ABORTED: break;
    default: {
      if (!state_.empty() || !error_.empty()) break;
      const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
      const char* text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
      state_ = state ? state : "";
      error_ = std::string("PostgreSQL: ") + (text ? text : "unknown error") + " (" + state_ + ")";
    }
  }
}

Result<void> PgConnection::exchange(Mode mode) {
  state_.clear();
  error_.clear();
  if (!PQpipelineSync(db_)) return lost(mode, false);
  const int64_t until = system_clock().monotonic_ms() + kAnswerTimeoutMs;
  size_t at = 0;
  bool answered = false, all_sent = false;
  for (;;) {
    if (!all_sent) {
      int more = PQflush(db_);
      if (more < 0) return lost(mode, false);
      all_sent = more == 0;
    }
    while (!PQisBusy(db_)) {
      PGresult* result = PQgetResult(db_);
      if (!result) {
        if (PQstatus(db_) != CONNECTION_OK) return lost(mode, all_sent);
        if (answered) at++, answered = false;
        continue;
      }
      const bool end = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
      if (!end && at < commands_.size()) take_result(result, commands_[at]);
      answered = true;
      PQclear(result);
      if (end) return {};
    }
    if (!wait(!all_sent, until)) return lost(mode, all_sent);
    if (!PQconsumeInput(db_)) return lost(mode, all_sent);
  }
}

Result<std::vector<Rows>> PgConnection::run(std::span<const Statement> statements, Mode mode) {
  for (int attempt = 0;; attempt++) {
    auto rows = run_once(statements, mode);
    // What was prepared is not there, or is there though it was not prepared here. Nothing was done yet.
    if (rows || broken_ || attempt > 0 || (state_ != "26000" && state_ != "42P05" && state_ != "0A000")) return rows;
    if (state_ != "0A000" && !unprepared_.exchange(true))
      log_info("PostgreSQL: behind a pooler, statements are not prepared");
  }
}

Result<std::vector<Rows>> PgConnection::run_once(std::span<const Statement> statements, Mode mode) {
  std::vector<Rows> rows(statements.size());
  // Anything to read now can only be a farewell.
  struct pollfd fd {
    PQsocket(db_), POLLIN, 0
  };
  state_.clear();
  if (::poll(&fd, 1, 0) > 0 && (!PQconsumeInput(db_) || PQstatus(db_) != CONNECTION_OK)) return lost(mode, false);
  commands_.clear();
  const bool snapshot = mode == Mode::kRead && statements.size() > 1;
  bool sent = !snapshot || send_plain("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", nullptr);
  for (size_t i = 0; sent && i < statements.size(); i++) sent = send(statements[i], &rows[i]);
  if (sent && snapshot) sent = send_plain("COMMIT", nullptr);
  if (!sent) return lost(mode, false);
  ZEST_TRY(exchange(mode));
  if (error_.empty()) return rows;
  const std::string state = state_;
  Error error = classify(state, std::move(error_));
  if (state == "0A000") {
    // A column was added since: prepare anew.
    names_.clear();
    prepared_.clear();
    commands_.clear();
    if (!send_plain("DEALLOCATE ALL", nullptr) || !exchange(Mode::kRead)) broken_ = true;
  }
  if (!broken_ && PQtransactionStatus(db_) != PQTRANS_IDLE) {
    commands_.clear();
    if (!send_plain("ROLLBACK", nullptr) || !exchange(Mode::kRead)) broken_ = true;
  }
  if (error.fault == Fault::kUnavailable) broken_ = true;
  state_ = state;
  return fail(std::move(error));
}

Result<Rows> PgConnection::define(const std::string& sql) {
  for (int attempt = 0;; attempt++) {
    Rows rows;
    commands_.clear();
    if (!send_plain(sql.c_str(), &rows)) return lost(Mode::kRead, false);
    ZEST_TRY(exchange(Mode::kRead));
    if (error_.empty()) return rows;
    Error error = classify(state_, std::move(error_));
    // Two clients that make the same table at once meet in the catalogue.
    if (error.fault != Fault::kConflict || attempt >= 10) return fail(std::move(error));
  }
}

Result<void> PgConnection::start() {
  PQsetNoticeProcessor(
      db_, [](void*, const char*) {}, nullptr);
  if (PQsetnonblocking(db_, 1) != 0 || PQenterPipelineMode(db_) != 1) return lost(Mode::kRead, false);
  return {};
}

class PgDriver : public Driver {
 public:
  Dialect dialect() const override { return Dialect::kPostgres; }
  Result<std::unique_ptr<Connection>> connect(bool create) override;

  std::string uri;  // with the parameters that libpq knows
  std::string password;

 private:
  std::atomic<bool> unprepared_ = false;
};

bool mentions(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](auto word) { return text.find(word) != text.npos; });
}

// Why there is no connection; a wrong password does not become right by waiting, nor does a certificate.
Error connect_error(PGconn* db) {
  std::string text = PQerrorMessage(db);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const bool refused = PQconnectionNeedsPassword(db) || PQconnectionUsedPassword(db) ||
                       mentions(text, {"does not exist", "pg_hba", "certificate", "does not support SSL",
                                       "configuration parameter", "value for parameter", "startup parameter"});
  const bool final = refused && !mentions(text, {"starting up", "shutting down", "too many", "Connection refused",
                                                 "not yet accepting", "timeout expired", "read-only"});
  return {final ? EACCES : EIO, final ? Fault::kPlain : Fault::kUnavailable, "PostgreSQL: " + mask_secrets(text)};
}

Result<std::unique_ptr<Connection>> PgDriver::connect(bool) {
  // Of a URL that names several servers each gets the time; what the URL says goes before what stands in front of it.
  std::vector<const char*> keys{"connect_timeout",  "application_name", "keepalives_idle",
                                "tcp_user_timeout", "dbname",           "client_encoding"},
      values{"10", "zestfs", "30", "60000", uri.c_str(), "UTF8"};
  if (!password.empty()) keys.push_back("password"), values.push_back(password.c_str());
  keys.push_back(nullptr), values.push_back(nullptr);
  PGconn* db = PQconnectdbParams(keys.data(), values.data(), 1);
  if (!db) return fail(ENOMEM);
  auto connection = std::make_unique<PgConnection>(db, unprepared_);
  if (PQstatus(db) != CONNECTION_OK) return fail(connect_error(db));
  ZEST_TRY(connection->start());
  // Statements go by keys. Plans that were made while a table was small would look through all of it later.
  ZEST_TRY(connection->define(
      "SELECT set_config('lock_timeout','10s',false),set_config('default_transaction_isolation','read "
      "committed',false),"
      "set_config('enable_seqscan','off',false)"));
  return connection;
}

bool known_to_libpq(const std::string& key) {
  static const std::set<std::string> keys = [] {
    std::set<std::string> out;
    PQconninfoOption* options = PQconndefaults();
    for (auto* o = options; o && o->keyword; o++) out.insert(o->keyword);
    PQconninfoFree(options);
    return out;
  }();
  return keys.contains(key);
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    if (std::isalnum(c) || std::strchr("-_.~", c)) {
      out.push_back(static_cast<char>(c));
    } else {
      out += fmt::format("%{:02X}", c);
    }
  }
  return out;
}

// A word of the parameter "options".
std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (std::isspace(static_cast<unsigned char>(c)) || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

// Has the URI a password? EINVAL if it is none.
Result<bool> has_password(const std::string& uri) {
  char* error = nullptr;
  PQconninfoOption* options = PQconninfoParse(uri.c_str(), &error);
  PQfreemem(error);  // may quote the password: not shown
  if (!options) return fail(EINVAL, "not a valid PostgreSQL URL");
  bool found = false;
  for (auto* o = options; o->keyword; o++) found |= std::strcmp(o->keyword, "password") == 0 && o->val && *o->val;
  PQconninfoFree(options);
  return found;
}

}  // namespace

Result<std::unique_ptr<Engine>> open_postgres(const std::string& rest, const EngineOptions& options) {
  const size_t question = std::min(rest.find('?'), rest.size());
  auto query = parse_query(std::string_view(rest).substr(std::min(question + 1, rest.size())));
  ZEST_ASSIGN(auto config, take_config(query, "postgres", options));
  auto driver = std::make_unique<PgDriver>();
  driver->uri = "postgresql://" + rest.substr(0, question);
  // What libpq does not know is a variable of the server, and said when the connection is made: a pooler would not keep
  // what is set later with this client, but refuses what it cannot pass on.
  std::string variables;
  for (auto it = query.begin(); it != query.end();) {
    if (known_to_libpq(it->first)) {
      ++it;
      continue;
    }
    const bool schema = it->first == "search_path";
    if (schema && it->second.find(',') != std::string::npos) return fail(EINVAL, "search_path must name one schema");
    variables +=
        " -c " + escaped(it->first) + "=" + escaped(schema ? quoted(Dialect::kPostgres, it->second) : it->second);
    it = query.erase(it);
  }
  if (!variables.empty()) query["options"] += variables;
  char mark = '?';
  for (const auto& [key, value] : query) driver->uri += std::exchange(mark, '&') + key + "=" + percent_encode(value);
  ZEST_ASSIGN(bool given, has_password(driver->uri));
  if (!given) {
    ZEST_ASSIGN(driver->password, password_of_environment());
  }
  return std::make_unique<SqlEngine>(std::move(driver), std::move(config));
}

}  // namespace zest::meta::sql
