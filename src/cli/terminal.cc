#include "cli/terminal.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <thread>

#include "base/units.h"
#include "cli/command.h"

namespace zest::cli {

std::string table(const std::vector<std::vector<std::string>>& rows, size_t left) {
  if (rows.empty()) return {};
  std::vector<size_t> width(rows[0].size(), 0);
  for (auto& row : rows)
    for (size_t i = 0; i < row.size() && i < width.size(); i++) width[i] = std::max(width[i], row[i].size());
  std::string rule = "+";
  for (auto w : width) rule += std::string(w + 2, '-') + "+";
  rule += "\n";
  std::string out = rule;
  for (size_t r = 0; r < rows.size(); r++) {
    out += "|";
    for (size_t i = 0; i < width.size(); i++) {
      std::string cell = i < rows[r].size() ? rows[r][i] : "";
      size_t space = width[i] - cell.size();
      size_t before = r == 0 ? (space + 1) / 2 : i == left ? 0 : space;
      out += " " + std::string(before, ' ') + cell + std::string(space - before, ' ') + " |";
    }
    out += "\n";
    if (r == 0) out += rule;
  }
  return out + rule;
}

void warn_user(const std::string& text) {
  bool colour = colour_on(STDOUT_FILENO);
  fmt::print("{}WARNING{}: {}\n", colour ? "\x1b[1;33m" : "", colour ? "\x1b[0m" : "", text);
  fflush(stdout);
}

bool confirm() {
  fmt::print("Proceed anyway? [y/N]: ");
  fflush(stdout);
  std::string answer;
  while (std::getline(std::cin, answer)) {
    for (auto& c : answer) c = static_cast<char>(tolower(c));
    if (answer == "y" || answer == "yes") return true;
    if (answer.empty() || answer == "n" || answer == "no") return false;
    fmt::print("Please input y(yes) or n(no): ");
    fflush(stdout);
  }
  return false;
}

std::string with_commas(uint64_t count) {
  auto text = std::to_string(count);
  for (auto i = static_cast<std::ptrdiff_t>(text.size()) - 3; i > 0; i -= 3) text.insert(static_cast<size_t>(i), ",");
  return text;
}

std::string mbps(int64_t mbit) {
  double value = static_cast<double>(mbit);
  if (value < 1000) return fmt::format("{:.1f} Mbps", value);
  return value < 1e6 ? fmt::format("{:.1f} Gbps", value / 1e3) : fmt::format("{:.1f} Tbps", value / 1e6);
}

struct Progress::Drawing {
  std::string name;
  const std::atomic<uint64_t>*done, *total;
  bool bytes;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::mutex mutex;
  std::condition_variable wake;
  bool stop = false;
  std::thread thread;

  std::string amount(uint64_t n) const { return bytes ? format_size_exact(n) : std::to_string(n); }

  void draw(bool last) const {
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    uint64_t n = *done, all = total ? total->load() : 0;
    double rate = seconds > 0 ? static_cast<double>(n) / seconds : 0;
    std::string speed = bytes ? format_size(static_cast<uint64_t>(rate)) + "/s" : fmt::format("{:.1f}/s", rate);
    std::string line;
    if (all > 0) {
      auto filled = static_cast<size_t>(std::min(1.0, static_cast<double>(n) / static_cast<double>(all)) * 30);
      std::string bar =
          std::string(filled, '=') + (filled < 30 ? ">" : "") + std::string(filled < 30 ? 29 - filled : 0, '-');
      double left = rate > 0 && all > n ? static_cast<double>(all - n) / rate : 0;
      line = fmt::format("{}: {}/{} [{}]  {} {}: {:.0f}s", name, amount(n), amount(all), bar, speed,
                         last ? "used" : "ETA", last ? seconds : left);
    } else {
      line = fmt::format("{}: {}  {}", name, amount(n), speed);
    }
    fmt::print("\r\x1b[K{}{}", line, last ? "\n" : "");
    fflush(stdout);
  }
};

Progress::Progress(std::string name, const std::atomic<uint64_t>* done, const std::atomic<uint64_t>* total,
                   bool bytes) {
  const char* wanted = getenv("DISPLAY_PROGRESSBAR");
  if (!isatty(STDOUT_FILENO) || globals().quiet || (wanted && std::string_view(wanted) == "false")) return;
  drawing_ = std::make_unique<Drawing>();
  auto* d = drawing_.get();
  d->name = std::move(name);
  d->done = done;
  d->total = total;
  d->bytes = bytes;
  d->thread = std::thread([d] {
    std::unique_lock lock(d->mutex);
    while (!d->wake.wait_for(lock, std::chrono::milliseconds(200), [d] { return d->stop; })) d->draw(false);
  });
}

Progress::~Progress() {
  if (!drawing_) return;
  {
    std::lock_guard lock(drawing_->mutex);
    drawing_->stop = true;
  }
  drawing_->wake.notify_all();
  drawing_->thread.join();
  drawing_->draw(true);
}

static std::atomic<bool> interrupted{false};
static std::atomic<int> interrupted_by{0};

int interrupt_exit_code() { return interrupted_by ? 128 + interrupted_by : 0; }

const std::atomic<bool>* watch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int signal) {
    interrupted_by = signal;
    if (interrupted.exchange(true)) _exit(128 + signal);
  };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  return &interrupted;
}

}  // namespace zest::cli
