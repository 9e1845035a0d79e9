// How far a long scan has come, in a file, so that another run goes on from there: after Ctrl-C, and after a crash,
// which loses the last page of it. A line of text for each thing done.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "base/result.h"

namespace CLI {
class App;
}

namespace zest::cli {

class Checkpoint {
 public:
  struct Options {
    bool resume = false;
    std::string dir;  // made when missing, for its owner alone
  };
  // Declares --resume and --state-dir.
  static void add_options(CLI::App& app, Options& options);

  // Of `command` on the volume; `scan` says what of it is scanned: another one is not gone on with. Without a file (a
  // folder that cannot be written, another scan at work) nothing is kept, and the reason is told when it would be
  // needed.
  Checkpoint(const Options& options, const std::string& uuid, const std::string& command, const std::string& scan);
  ~Checkpoint();
  Checkpoint(const Checkpoint&) = delete;

  // With --resume, gives `each` the lines of the run before; false: this one is damaged, and nothing behind it counts.
  // Else, or when there is nothing to go on from, begins a new file. Call it once, first.
  void begin(const std::function<bool(std::string_view line)>& each);
  void add(std::string_view line);  // thread safe
  // The scan is over: the file goes.
  void finish();
  // It did not come to its end: keeps the file, and tells how to go on.
  void keep();

 private:
  Result<void> open_file(const std::string& dir, const std::string& name);
  Result<void> replay(const std::function<bool(std::string_view line)>& each);
  void flush();

  const bool resume_;
  const std::string header_;
  std::string path_, unusable_;
  std::mutex mutex_;
  int fd_ = -1;
  std::string page_;
};

}  // namespace zest::cli
