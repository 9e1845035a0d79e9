// What people see: tables, confirmation, sizes (docs/behaviour/cli.md section 1).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace zest::cli {

// "+---+" rules; the first row is the header; cells are right aligned but those of column `left`.
std::string table(const std::vector<std::vector<std::string>>& rows, size_t left = 0);

// Yellow "WARNING: text" on stdout.
void warn_user(const std::string& text);
// Asks "Proceed anyway? [y/N]: "; end of input means no.
bool confirm();

std::string with_commas(uint64_t count);  // "100,000"
std::string mbps(int64_t mbit_per_sec);   // "100.0 Mbps"

// A progress bar on stdout for long work: drawn on a terminal, silent otherwise. total may be null: a spinner.
class Progress {
 public:
  Progress(std::string name, const std::atomic<uint64_t>* done, const std::atomic<uint64_t>* total, bool bytes = false);
  ~Progress();  // draws the final state
  Progress(const Progress&) = delete;

 private:
  struct Drawing;
  std::unique_ptr<Drawing> drawing_;
};

// Set by SIGINT and SIGTERM once watch_interrupts() was called, so that long commands stop in good order; a second
// signal ends the program at once.
const std::atomic<bool>* watch_interrupts();
// 130 or 143 (128 + signal) once one of them came, else 0: the exit code of a command that they made end early.
int interrupt_exit_code();

}  // namespace zest::cli
