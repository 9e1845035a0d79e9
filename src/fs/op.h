// Counting, timing and logging of operations. Private to fs/.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/spent.h"
#include "fs/op_stats.h"
#include "meta/api.h"

namespace zest::fs {

using meta::Context;

// Lines for the open readers of .accesslog; each has its own queue.
class AccessLog {
 public:
  static constexpr size_t kQueueLimit = 10'240;
  struct Reader {
    std::mutex mutex;
    std::condition_variable arrived;
    std::deque<std::string> lines;
    std::string rest;  // the unread end of a line that was given in part
  };
  bool wanted() const { return readers_count_.load(std::memory_order_relaxed) > 0; }
  std::shared_ptr<Reader> open();
  void close(const std::shared_ptr<Reader>& reader);
  void publish(const std::string& line);
  // Lines until `into` is full or a second has passed; "#\n" when there were none.
  static size_t read(Reader& reader, const Context& context, std::span<char> into);

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<Reader>> readers_;
  std::atomic<int> readers_count_{0};
};

// What operations failed of, ten lines in ten seconds at most: an outage meets all of them. Thread safe.
class Troubles {
 public:
  void write(const std::string& line, int64_t now_ms);

 private:
  std::mutex mutex_;
  int64_t begin_ms_ = 0;
  uint64_t lines_ = 0;  // since then
};

class FileSystem;

// One operation. end() counts it; with a log reader (or when it was slow) the text of args() goes to the log.
class Op {
 public:
  Op(FileSystem& fs, const Context& context, Method method);
  template <class Args>
  void end(int code, Args&& args) {
    finish(code);
    if (wants_text()) publish(code, args());
  }
  // An error that is no answer of a file system also goes to the log.
  template <class T, class Args>
  void end(const Result<T>& result, Args&& args) {
    end(code_of(result), args);
    if (!result && is_trouble(result.error())) log_trouble(result.error(), args());
  }

 private:
  void finish(int code);
  bool wants_text() const;
  bool slow() const;
  void publish(int code, const std::string& args);
  bool is_trouble(const Error& error) const;
  void log_trouble(const Error& error, std::string_view args);
  FileSystem& fs_;
  const Context& context_;
  const Method method_;
  Spending spending_;
  int64_t ns_ = 0;
};

// "meta 1.25 s, lock 0.50 s, 3 round trips": where the time went, the longest part first.
std::string log_spent(const Spent& spent);

// Pieces of log lines.
std::string log_mode(uint32_t st_mode);                       // "-rw-r--r--"
std::string log_entry(Ino ino, const Attr& attr);             // " (ino,[mode,nlink,...])"
std::string log_entry(const Result<meta::EntryAttr>& entry);  // the same, or nothing
std::string log_text(std::string_view text);                  // escaped where it must be
std::string log_status(int code);                             // "OK", "no such file or directory"

}  // namespace zest::fs
