// MySQL and MariaDB by libmariadb: all statements of a call go out as one text, and stop at the first that fails. A
// server sends an answer to each of them, which wakes this client; MariaDB takes them as one block with one answer,
// behind the rows that were asked for.
//
// Bytes travel as hexadecimal literals, so nothing needs escaping and no character set touches them.
#include <fmt/format.h>
#include <mysql.h>

#include <algorithm>
#include <mutex>

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "meta/engine/sql/engine_impl.h"
#include "meta/engine/sql/sql_engine.h"

namespace zest::meta::sql {
namespace {

// Errors of the library itself: 2000 to 2999.
constexpr unsigned kCrServerGone = 2006, kCrTls = 2026;
constexpr unsigned kNullRefused = 1048;  // what an extended attribute's statement asks for: on_xattr_collision()
constexpr size_t kPacketSpare = 64;      // for what stands around the statements of a packet
bool of_library(unsigned number) { return number >= 2000 && number < 3000; }

struct MysqlOptions {
  std::string user, password, host, socket, database;
  unsigned port = 3306;
  unsigned connect_timeout_s = 10, read_timeout_s = 60, write_timeout_s = 60;
  std::string tls;  // "", "true", "skip-verify", "preferred"
  std::vector<std::string> settings;
};

std::string literal(const Param& p) {
  switch (p.type) {
    case Param::Type::kNull: return "NULL";
    case Param::Type::kInt: return std::to_string(p.i);
    case Param::Type::kText: return p.s.empty() ? "''" : "_utf8mb4 x'" + to_hex(p.s) + "'";
    case Param::Type::kBlob: return "x'" + to_hex(p.s) + "'";
  }
  return {};
}

void render(const Statement& statement, std::string& out) {
  size_t next = 0;
  for (char c : statement.text->sql) {
    if (c == '?' && next < statement.params.size()) {
      out += literal(statement.params[next++]);
    } else {
      out.push_back(c);
    }
  }
}

Error classify(unsigned number, std::string text) {
  switch (number) {
    case 1213:
    case 1205:
    case 1062:
    case 1690:
    case 1020:
    case 1412:
    case 1637:
    case 1969:  // max_statement_time, of MariaDB and of MySQL
    case 3024: return {EAGAIN, Fault::kConflict, std::move(text)};
    case 1040:
    case 1047:  // a node of a cluster that has lost the others
    case 1053:
    case 1158:
    case 1159:
    case 1160:
    case 1161:
    case 1203:
    case 1226:
    case 1290:
    case 1317:
    case 1792:
    case 1836:
    case 1927: return {EIO, Fault::kUnavailable, std::move(text)};
    case 1146:
    case 1054: return {ENOENT, Fault::kPlain, std::move(text)};
    case kNullRefused:
    case 1153:
    case 1264:
    case 1300:
    case 1366:
    case 1406: return {EINVAL, Fault::kPlain, std::move(text)};
    case 1021:
    case 1114: return {ENOSPC, Fault::kPlain, std::move(text)};
    case 1044:
    case 1045:
    case 1130:
    case 1142:
    case 1698: return {EACCES, Fault::kPlain, std::move(text)};
    default: return {EIO, of_library(number) ? Fault::kUnavailable : Fault::kPlain, std::move(text)};
  }
}

bool is_number(enum enum_field_types type) {
  switch (type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_DECIMAL:
    case MYSQL_TYPE_NEWDECIMAL: return true;
    default: return false;
  }
}

bool is_transaction(std::span<const Statement> statements, Connection::Mode mode) {
  return mode == Connection::Mode::kCommit || statements.size() > 1;
}

// In a block, only its answer tells how many rows a statement changed.
bool fits_in_block(std::span<const Statement> statements) {
  return std::none_of(statements.begin(), statements.end(), [](const Statement& s) { return s.text->counted; });
}
bool gives_rows(const Text& text) { return !text.check && text.sql.starts_with("SELECT"); }

class MysqlConnection : public Connection {
 public:
  explicit MysqlConnection(MYSQL* db) : db_(db) {}
  ~MysqlConnection() override { mysql_close(db_); }

  Result<std::vector<Rows>> run(std::span<const Statement> statements, Mode mode) override;
  Result<Rows> define(const std::string& sql) override;
  bool healthy() const override { return !broken_; }
  Result<void> start();

 private:
  // The packets in which the statements go out, and where the rows of each go.
  struct Packet {
    std::string text;
    std::vector<Rows*> answers;
  };
  std::vector<Packet> packets(std::span<const Statement> statements, Mode mode, std::vector<Rows>& rows) const;
  bool has_blocks() const;
  // Sends the text and reads the answers to it, into those of `rows` that are not null.
  Result<void> exchange(const std::string& text, std::span<Rows* const> rows, Mode mode);
  Result<void> take_result(Rows* rows, Mode mode);
  std::unexpected<Error> error(Mode mode);

  MYSQL* const db_;
  size_t packet_limit_ = 1 << 20;
  bool broken_ = false;
};

std::unexpected<Error> MysqlConnection::error(Mode mode) {
  const unsigned number = mysql_errno(db_);
  std::string text = fmt::format("MySQL: {} ({})", mysql_error(db_), number);
  if (number == kNullRefused) {
    text = "MySQL: an extended attribute is there whose name is the same to the collation of the table";
    log_warning(text);
  }
  if (of_library(number)) {
    broken_ = true;
    bool unknown = mode == Mode::kCommit && number != kCrServerGone;  // "gone": it was not sent
    return fail(EIO, unknown ? Fault::kUnknownOutcome : Fault::kUnavailable, std::move(text));
  }
  Error error = classify(number, std::move(text));
  if (error.fault == Fault::kUnavailable) broken_ = true;
  return fail(std::move(error));
}

Result<void> MysqlConnection::take_result(Rows* rows, Mode mode) {
  MYSQL_RES* result = mysql_store_result(db_);
  if (!result) {
    if (mysql_field_count(db_) != 0) return error(mode);
    if (rows) rows->affected = static_cast<int64_t>(mysql_affected_rows(db_));
    return {};
  }
  if (rows) {
    rows->width = mysql_num_fields(result);
    rows->affected = static_cast<int64_t>(mysql_num_rows(result));
    MYSQL_FIELD* fields = mysql_fetch_fields(result);
    while (MYSQL_ROW row = mysql_fetch_row(result)) {
      unsigned long* lengths = mysql_fetch_lengths(result);
      for (size_t i = 0; i < rows->width; i++) {
        if (!row[i]) {
          rows->cells.emplace_back();
        } else if (is_number(fields[i].type)) {
          rows->cells.emplace_back(parse_int(std::string_view(row[i], lengths[i])).value_or(0));
        } else {
          rows->cells.emplace_back(std::string(row[i], lengths[i]));
        }
      }
    }
  }
  mysql_free_result(result);
  return {};
}

bool MysqlConnection::has_blocks() const { return mariadb_connection(db_) && mysql_get_server_version(db_) >= 100101; }

Result<void> MysqlConnection::exchange(const std::string& text, std::span<Rows* const> rows, Mode mode) {
  if (mysql_real_query(db_, text.data(), text.size()) != 0) return error(mode);
  for (size_t at = 0;; at++) {
    ZEST_TRY(take_result(at < rows.size() ? rows[at] : nullptr, mode));
    int more = mysql_next_result(db_);
    if (more > 0) return error(mode);
    if (more < 0) return {};
  }
}

std::vector<MysqlConnection::Packet> MysqlConnection::packets(std::span<const Statement> statements, Mode mode,
                                                              std::vector<Rows>& rows) const {
  const bool transaction = is_transaction(statements, mode),
             block = transaction && has_blocks() && fits_in_block(statements);
  std::vector<Packet> out(1);
  auto add = [&](std::string_view text, Rows* answer, bool answered) {
    if (out.back().text.size() + text.size() + kPacketSpare > packet_limit_ && !out.back().text.empty())
      out.emplace_back();
    auto& packet = out.back();
    if (!packet.text.empty()) {
      packet.text.push_back(';');
    } else if (block) {
      packet.text = "BEGIN NOT ATOMIC ";
    }
    packet.text += text;
    if (!block || answered) packet.answers.push_back(answer);
  };
  if (transaction && mode == Mode::kRead) {
    add("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", nullptr, false);
    add("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", nullptr, false);
  } else if (transaction) {
    add("START TRANSACTION", nullptr, false);
  }
  std::string text;
  for (size_t i = 0; i < statements.size(); i++) {
    text.clear();
    render(statements[i], text);
    add(text, &rows[i], gives_rows(*statements[i].text));
  }
  if (transaction) add("COMMIT", nullptr, false);
  if (block)
    for (auto& packet : out) packet.text += ";END";
  return out;
}

Result<std::vector<Rows>> MysqlConnection::run(std::span<const Statement> statements, Mode mode) {
  std::vector<Rows> rows(statements.size());
  const auto parts = packets(statements, mode, rows);
  for (const auto& part : parts) {
    if (part.text.size() + kPacketSpare <= packet_limit_) continue;
    return fail(EINVAL, fmt::format("MySQL: {} bytes do not fit into max_allowed_packet", part.text.size()));
  }
  for (size_t i = 0; i < parts.size(); i++) {
    // Until the COMMIT has been sent nothing is done.
    auto done = exchange(parts[i].text, parts[i].answers, i + 1 < parts.size() ? Mode::kRead : mode);
    if (done) continue;
    if (!broken_ && is_transaction(statements, mode) && mysql_query(db_, "ROLLBACK") != 0) broken_ = true;
    return fail(std::move(done.error()));
  }
  return rows;
}

Result<void> MysqlConnection::start() {
  Rows limit;
  Rows* const answers[] = {nullptr, nullptr, &limit};
  ZEST_TRY(exchange(
      "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;"
      "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',autocommit=1,innodb_lock_wait_timeout=10;"
      "SELECT @@max_allowed_packet",
      answers, Mode::kRead));
  if (!limit.empty()) packet_limit_ = static_cast<size_t>(limit.integer(0, 0));
  return {};
}

Result<Rows> MysqlConnection::define(const std::string& sql) {
  Rows rows;
  Rows* const answer = &rows;
  auto done = exchange(sql, std::span(&answer, 1), Mode::kRead);
  if (done) return rows;
  const unsigned number = mysql_errno(db_);
  if (number == 1061 || number == 1060) return rows;  // the index or column is there already
  return fail(std::move(done.error()));
}

class MysqlDriver : public Driver {
 public:
  explicit MysqlDriver(MysqlOptions options) : options_(std::move(options)) {}
  Dialect dialect() const override { return Dialect::kMysql; }
  Result<std::unique_ptr<Connection>> connect(bool create) override;

 private:
  Result<std::unique_ptr<MysqlConnection>> open(bool tls) const;

  const MysqlOptions options_;
};

Result<std::unique_ptr<Connection>> MysqlDriver::connect(bool) {
  static std::once_flag initialised;
  std::call_once(initialised, [] { mysql_library_init(0, nullptr, nullptr); });
  auto connection = open(!options_.tls.empty() && options_.tls != "false");
  if (!connection && options_.tls == "preferred" && connection.error().code == EPROTO) connection = open(false);
  if (!connection) return fail(std::move(connection.error()));
  auto& session = **connection;
  ZEST_TRY(session.start());
  for (const auto& setting : options_.settings) ZEST_TRY(session.define(setting));
  return std::move(*connection);
}

// EPROTO, and no use in trying again: the server does not speak TLS as wanted.
Result<std::unique_ptr<MysqlConnection>> MysqlDriver::open(bool tls) const {
  MYSQL* db = mysql_init(nullptr);
  if (!db) return fail(ENOMEM);
  auto connection = std::make_unique<MysqlConnection>(db);
  mysql_options(db, MYSQL_OPT_CONNECT_TIMEOUT, &options_.connect_timeout_s);
  mysql_options(db, MYSQL_OPT_READ_TIMEOUT, &options_.read_timeout_s);
  mysql_options(db, MYSQL_OPT_WRITE_TIMEOUT, &options_.write_timeout_s);
  mysql_options(db, MYSQL_SET_CHARSET_NAME, "utf8mb4");
  const my_bool enforce = tls, verify = options_.tls == "true";
  if (tls) mysql_options(db, MYSQL_OPT_SSL_ENFORCE, &enforce);
  if (tls) mysql_options(db, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
  const char* host = options_.socket.empty() ? options_.host.c_str() : nullptr;
  const char* socket = options_.socket.empty() ? nullptr : options_.socket.c_str();
  // "localhost" would mean the default socket to the library, whatever the port.
  if (host && options_.host == "localhost") host = "127.0.0.1";
  if (mysql_real_connect(db, host, options_.user.c_str(), options_.password.c_str(), options_.database.c_str(),
                         options_.port, socket, CLIENT_MULTI_STATEMENTS | CLIENT_MULTI_RESULTS | CLIENT_FOUND_ROWS))
    return connection;
  auto text = fmt::format("MySQL: {} ({})", mysql_error(db), mysql_errno(db));
  if (mysql_errno(db) == kCrTls) return fail(EPROTO, std::move(text));
  return fail(classify(mysql_errno(db), std::move(text)));
}

// "tcp(host:port)", "(host:port)", "unix(/path)".
Result<void> parse_address(std::string_view address, MysqlOptions& out) {
  const size_t open = address.find('(');
  if (open == std::string_view::npos || !address.ends_with(')'))
    return fail(EINVAL, "the address in a MySQL URL stands in parentheses: user@(host:3306)/database");
  const std::string_view protocol = address.substr(0, open),
                         inside = address.substr(open + 1, address.size() - open - 2);
  if (protocol == "unix") {
    out.socket = inside;
    return {};
  }
  if (!protocol.empty() && protocol != "tcp") return fail(EINVAL, "a MySQL URL knows tcp() and unix()");
  const size_t colon = inside.rfind(':');
  const bool has_port = colon != std::string_view::npos && inside.find(']', colon) == std::string_view::npos;
  out.host = inside.substr(0, has_port ? colon : inside.size());
  if (out.host.starts_with('[') && out.host.ends_with(']')) out.host = out.host.substr(1, out.host.size() - 2);
  if (!has_port) return {};
  auto port = parse_uint(inside.substr(colon + 1));
  if (!port || *port == 0 || *port > 65535) return fail(EINVAL, "the port in the MySQL URL is no number of a port");
  out.port = static_cast<unsigned>(*port);
  return {};
}

Result<void> take_parameters(const std::map<std::string, std::string>& query, MysqlOptions& out) {
  auto seconds = [](const std::string& value, unsigned& out) -> Result<void> {
    auto ms = parse_duration_ms(value);
    if (!ms) return fail(EINVAL, "a timeout in the MySQL URL is no duration");
    out = static_cast<unsigned>((*ms + 999) / 1000);
    return {};
  };
  for (const auto& [key, value] : query) {
    if (key == "tls") {
      out.tls = value;
    } else if (key == "timeout") {
      ZEST_TRY(seconds(value, out.connect_timeout_s));
    } else if (key == "readTimeout") {
      ZEST_TRY(seconds(value, out.read_timeout_s));
    } else if (key == "writeTimeout") {
      ZEST_TRY(seconds(value, out.write_timeout_s));
    } else {
      // What concerns another client library means nothing here; the rest are variables of the server.
      bool of_library = false;
      for (const char* name :
           {"charset", "collation", "maxAllowedPacket", "interpolateParams", "clientFoundRows", "compress", "parseTime",
            "loc", "multiStatements", "allowNativePasswords", "checkConnLiveness", "rejectReadOnly"})
        of_library |= key == name;
      if (of_library) continue;
      for (char c : key)
        if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_')
          return fail(EINVAL, "a parameter of the MySQL URL has an odd name");
      for (char c : value)
        if (c == ';') return fail(EINVAL, "a parameter of the MySQL URL holds a semicolon");
      out.settings.push_back("SET " + key + "=" + value);
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Engine>> open_mysql(const std::string& rest, const EngineOptions& options) {
  MysqlOptions mysql;
  // A password may hold anything, also '@' '/' and '?': the address is looked for from the end.
  const size_t at = rest.rfind('@');
  const size_t address = at == std::string::npos ? 0 : at + 1, close = rest.find(")/", address);
  if (close == std::string::npos) return fail(EINVAL, "a MySQL URL reads user:password@(host:3306)/database");
  ZEST_TRY(parse_address(std::string_view(rest).substr(address, close + 1 - address), mysql));
  const size_t question = std::min(rest.find('?', close), rest.size());
  mysql.database = percent_decode(std::string_view(rest).substr(close + 2, question - close - 2));
  if (mysql.database.empty()) return fail(EINVAL, "the MySQL URL names no database");
  if (at != std::string::npos) {
    const std::string user = rest.substr(0, at);
    const size_t colon = std::min(user.find(':'), user.size());
    mysql.user = user.substr(0, colon);
    mysql.password = percent_decode(std::string_view(user).substr(std::min(colon + 1, user.size())));
  }
  if (mysql.password.empty()) {
    ZEST_ASSIGN(mysql.password, password_of_environment());
  }
  auto query = parse_query(std::string_view(rest).substr(std::min(question + 1, rest.size())));
  ZEST_ASSIGN(auto config, take_config(query, "mysql", options));
  ZEST_TRY(take_parameters(query, mysql));
  return std::make_unique<SqlEngine>(std::make_unique<MysqlDriver>(std::move(mysql)), std::move(config));
}

}  // namespace zest::meta::sql
