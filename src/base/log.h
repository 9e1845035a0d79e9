// The program's log: stderr by default, a file and syslog where asked. Lines look like
//   2026/11/30 08:15:01.123456 zestfs[4711] <INFO>: text
// Callers build the text (fmt::format in their .cc); this header stays light. Thread safe. No text may hold a secret:
// mask URLs with mask_secrets() first.
#pragma once

#include <string>
#include <string_view>

namespace zest {

enum class LogLevel { kTrace, kDebug, kInfo, kWarning, kError };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  std::string file;     // empty: stderr
  bool colour = false;  // only looked at for stderr
  bool syslog = false;
  std::string log_id;  // put before each line as [log_id]
};

void configure_log(const LogOptions& options);
void reopen_log();  // after rotation
bool log_enabled(LogLevel level);
void log(LogLevel level, std::string_view text);

inline void log_trace(std::string_view text) { log(LogLevel::kTrace, text); }
inline void log_debug(std::string_view text) { log(LogLevel::kDebug, text); }
inline void log_info(std::string_view text) { log(LogLevel::kInfo, text); }
inline void log_warning(std::string_view text) { log(LogLevel::kWarning, text); }
inline void log_error(std::string_view text) { log(LogLevel::kError, text); }

// A URL or message with the password of every scheme://user:password@ in it replaced by ****, also when the password
// holds ':' '/' or '@'.
std::string mask_secrets(std::string_view text);

}  // namespace zest
