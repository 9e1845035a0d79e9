// The databases that the conformance tests run on. An engine is added by a file engines_<name>.cc of its own that holds
// one RegisterEngine object.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

namespace zest::conformance {

// An empty database. Its server, if it needs one, may be shared by all of a process. Gone when destroyed.
class Database {
 public:
  virtual ~Database() = default;
  virtual std::string url() const = 0;
};

struct EngineCase {
  std::string name;
  // Throws std::runtime_error when the machine lacks the server: its tests fail.
  std::function<std::unique_ptr<Database>()> make;
};
inline std::ostream& operator<<(std::ostream& out, const EngineCase& engine) { return out << engine.name; }

std::vector<EngineCase>& engine_cases();

struct RegisterEngine {
  RegisterEngine(std::string name, std::function<std::unique_ptr<Database>()> make) {
    engine_cases().push_back({std::move(name), std::move(make)});
  }
};

// A new empty folder below the system's temporary one, removed with its content when destroyed.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace zest::conformance
