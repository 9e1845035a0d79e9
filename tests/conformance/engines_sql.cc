// PostgreSQL and MariaDB: one server for all tests of the process, tables of its own for each.
#include "engines.h"
#include "servers.h"

namespace zest::conformance {
namespace {

using testing_servers::MariadbServer;
using testing_servers::PostgresServer;

class SqlDatabase : public Database {
 public:
  explicit SqlDatabase(std::string url) : url_(std::move(url)) {}
  std::string url() const override { return url_; }

 private:
  const std::string url_;
};

const RegisterEngine kPostgres("postgres", []() -> std::unique_ptr<Database> {
  return std::make_unique<SqlDatabase>(PostgresServer::shared().fresh_url());
});
const RegisterEngine kMysql("mysql", []() -> std::unique_ptr<Database> {
  return std::make_unique<SqlDatabase>(MariadbServer::shared().fresh_url());
});

}  // namespace
}  // namespace zest::conformance
