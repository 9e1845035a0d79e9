#include "engines.h"

#include <stdlib.h>

#include <atomic>
#include <filesystem>

namespace zest::conformance {

std::vector<EngineCase>& engine_cases() {
  static std::vector<EngineCase> cases;
  return cases;
}

TempDir::TempDir() {
  std::string pattern = std::filesystem::temp_directory_path() / "zest-conformance-XXXXXX";
  if (mkdtemp(pattern.data())) path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

namespace {

// Lives as long as some engine has it open.
class MemoryDatabase : public Database {
 public:
  std::string url() const override { return url_; }

 private:
  static std::string next_name() {
    static std::atomic<int> number{0};
    return "memkv://conformance-" + std::to_string(++number);
  }
  const std::string url_ = next_name();
};

#if __has_include("meta/engine/sql/sql_engine.h")
class SqliteDatabase : public Database {
 public:
  std::string url() const override { return "sqlite3://" + dir_.path() + "/meta.db"; }

 private:
  TempDir dir_;
};

const RegisterEngine sqlite("sqlite", [] { return std::make_unique<SqliteDatabase>(); });
#endif

const RegisterEngine memkv("memkv", [] { return std::make_unique<MemoryDatabase>(); });

}  // namespace

}  // namespace zest::conformance
