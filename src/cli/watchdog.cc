#include "cli/watchdog.h"

#include <fmt/format.h>
#include <poll.h>

#include <fstream>
#include <string>

namespace zest::cli {
namespace {

// Stopped by a signal or a debugger: somebody wants that.
bool is_stopped(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(file, text);
  const auto end = text.rfind(") ");
  return end == std::string::npos || end + 2 >= text.size() || text[end + 2] == 'T' || text[end + 2] == 't';
}

// Does the kernel have a request that nobody has taken?
bool is_pending(int device) {
  pollfd one{device, POLLIN, 0};
  return poll(&one, 1, 0) == 1 && (one.revents & POLLIN);
}

size_t served(fs::StateTable& table) {
  size_t count = 0;
  table.each([&](fs::Record& record) {
    count += record.kind == fs::Record::kRequest && std::atomic_ref(record.request.unique).load() != 0;
  });
  return count;
}

}  // namespace

bool Watchdog::hung(pid_t worker, int device, fs::StateTable& table, int64_t now_ms) {
  const uint64_t taken = table.header().requests;
  const bool suspicious =
      worker == worker_ && taken == taken_ && is_pending(device) && !is_stopped(worker) && served(table) < most_served_;
  if (!suspicious) worker_ = worker, taken_ = taken, since_ms_ = now_ms;
  return suspicious && now_ms - since_ms_ >= patience_ms_;
}

}  // namespace zest::cli
