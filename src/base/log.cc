#include "base/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

namespace zest {
namespace {

struct Sinks {
  std::mutex mutex;
  LogOptions options;
  std::shared_ptr<spdlog::logger> logger;
};

Sinks& sinks() {
  static Sinks state;
  return state;
}

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace: return spdlog::level::trace;
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

const char* level_name(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace: return "TRACE";
    case LogLevel::kDebug: return "DEBUG";
    case LogLevel::kInfo: return "INFO";
    case LogLevel::kWarning: return "WARNING";
    case LogLevel::kError: return "ERROR";
  }
  return "INFO";
}

// The level as it stands in a line, bold and in its colour where that is wanted.
std::string level_text(LogLevel level, bool colour) {
  if (!colour) return level_name(level);
  int code = level == LogLevel::kError ? 31 : level == LogLevel::kWarning ? 33 : level == LogLevel::kInfo ? 34 : 35;
  return fmt::format("\x1b[1;{}m{}\x1b[0m", code, level_name(level));
}

std::shared_ptr<spdlog::logger> build(const LogOptions& options) {
  std::vector<spdlog::sink_ptr> list;
  if (options.file.empty()) {
    list.push_back(std::make_shared<spdlog::sinks::stderr_sink_mt>());
  } else {
    list.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file));
  }
  if (options.syslog)
    list.push_back(std::make_shared<spdlog::sinks::syslog_sink_mt>("zestfs", LOG_PID, LOG_DAEMON, false));
  auto logger = std::make_shared<spdlog::logger>("zestfs", list.begin(), list.end());
  logger->set_level(to_spdlog(options.level));
  logger->flush_on(spdlog::level::trace);
  logger->set_pattern("%Y/%m/%d %H:%M:%S.%f %v");
  return logger;
}

// Where the address begins: of MySQL it stands in parentheses, and any byte may go before. npos: the URL names no user.
size_t end_of_user(std::string_view url) {
  for (std::string_view address : {"@(", "@tcp(", "@unix("})
    if (auto at = url.rfind(address); at != std::string_view::npos) return at;
  auto at = url.substr(0, url.find('?')).rfind('@');
  return at == std::string_view::npos ? url.rfind('@') : at;
}

// The values of "...password=" among the parameters of a URL.
std::string mask_parameters(std::string_view text) {
  constexpr std::string_view kName = "password=";
  std::string out;
  for (size_t found; (found = text.find(kName)) != std::string_view::npos;) {
    out.append(text.substr(0, found + kName.size())).append("****");
    text.remove_prefix(found + kName.size());
    text.remove_prefix(std::min(text.find('&'), text.size()));
  }
  return out.append(text);
}

}  // namespace

void configure_log(const LogOptions& options) {
  std::shared_ptr<spdlog::logger> logger;
  try {
    logger = build(options);
  } catch (const spdlog::spdlog_ex&) {  // the log file cannot be opened: better stderr than nothing
    auto plain = options;
    plain.file.clear();
    logger = build(plain);
  }
  auto& state = sinks();
  std::lock_guard lock(state.mutex);
  state.options = options;
  state.logger = std::move(logger);
}

void reopen_log() {
  LogOptions options;
  {
    std::lock_guard lock(sinks().mutex);
    options = sinks().options;
  }
  configure_log(options);
}

bool log_enabled(LogLevel level) {
  std::lock_guard lock(sinks().mutex);
  return level >= sinks().options.level;
}

void log(LogLevel level, std::string_view text) {
  auto& state = sinks();
  std::shared_ptr<spdlog::logger> logger;
  std::string id;
  bool colour = false;
  {
    std::lock_guard lock(state.mutex);
    if (level < state.options.level) return;
    colour = state.options.colour && state.options.file.empty();
    if (!state.logger) state.logger = build(state.options);
    logger = state.logger;
    id = state.options.log_id;
  }
  if (!id.empty()) id = "[" + id + "] ";
  logger->log(to_spdlog(level), "{}zestfs[{}] <{}>: {}", id, getpid(), level_text(level, colour), text);
}

std::string mask_secrets(std::string_view text) {
  std::string out;
  while (true) {
    auto scheme = text.find("://");
    if (scheme == std::string_view::npos) return out.append(text);
    out.append(text.substr(0, scheme + 3));
    text.remove_prefix(scheme + 3);
    // The user part ends at the last '@' of this word: a password may hold '@', ':' and '/'.
    auto word = text.substr(0, text.find_first_of(" \t\r\n\"'"));
    auto next = word.find("://");
    if (next != std::string_view::npos) word = word.substr(0, next);
    auto at = end_of_user(word);
    auto colon = word.find(':');
    size_t masked = 0;
    if (at != std::string_view::npos && colon != std::string_view::npos && colon < at) {
      out.append(word.substr(0, colon + 1)).append("****");
      masked = at;
    }
    out.append(mask_parameters(word.substr(masked)));
    text.remove_prefix(word.size());
  }
}

}  // namespace zest
