// Engine over a Database. Private to this folder.
#pragma once

#include <memory>

#include "meta/engine/sql/connection.h"
#include "meta/engine/sql/sql_database.h"
#include "meta/txn.h"

namespace zest::meta::sql {

class SqlEngine : public Engine {
 public:
  SqlEngine(std::unique_ptr<Driver> driver, Config config);

  const EngineInfo& info() const override { return info_; }
  Result<std::unique_ptr<EngineTxn>> begin(bool write, std::span<const Ino> hot) override;
  Result<std::vector<DirEntry>> list(Ino dir, std::string& cursor, size_t limit, bool with_attr) override;
  Result<void> scan(Table table, uint64_t within, const std::function<bool(const Key&, const Value&)>& each) override;
  Result<int64_t> add_counter(std::string_view name, int64_t delta) override;
  Result<LogRange> log_range() override;
  Result<std::vector<LogLine>> log_lines(int64_t from, size_t limit) override;
  Result<void> trim_log(int64_t first) override;
  Result<void> prepare() override;
  Result<void> reset() override;
  int64_t absent_ref() const override { return 0; }
  Result<void> ping() override;
  Result<void> sync() override { return database_.driver().sync(); }
  // To read from a file costs less than to compare.
  Recent* recent() override { return database_.dialect() == Dialect::kSqlite ? nullptr : &recent_; }

 private:
  // Null while there is no table of the change log.
  Result<std::shared_ptr<const Texts>> log_texts();
  using Each = std::function<bool(const Key&, const Value&)>;
  Result<void> scan_pages(const Texts& texts, Kind kind, const Text& text, uint64_t within, bool has_within,
                          const Each& each);
  Result<void> scan_locks(const Texts& texts, Kind kind, uint64_t sid, const Each& each);
  Result<void> scan_parents(const Texts& texts, const Each& each);

  Database database_;
  EngineInfo info_;
  Recent recent_;
};

// key=value&key=value, percent-decoded.
std::map<std::string, std::string> parse_query(std::string_view query);
std::string percent_decode(std::string_view text);
// Takes the keys that concern the engine, not the driver, out of the query. EINVAL for a bad prefix.
Result<Config> take_config(std::map<std::string, std::string>& query, const char* name, const EngineOptions& options);
// META_PASSWORD, else what META_PASSWORD_FILE holds; empty: neither.
Result<std::string> password_of_environment();

}  // namespace zest::meta::sql
