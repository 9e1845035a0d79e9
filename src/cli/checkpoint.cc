#include "cli/checkpoint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <memory>

#include "base/log.h"

namespace zest::cli {
namespace {

constexpr size_t kPage = 64 << 10;
constexpr time_t kTooOldSec = 7 * 86400;

std::string default_dir() {
  const char* home = getenv("HOME");
  return geteuid() == 0 ? "/var/lib/zestfs/scans" : std::string(home ? home : "/tmp") + "/.juicefs/scans";
}

}  // namespace

void Checkpoint::add_options(CLI::App& app, Options& options) {
  app.add_flag("--resume", options.resume, "go on where an interrupted run with the same options stopped");
  options.dir = default_dir();
  app.add_option("--state-dir", options.dir,
                 "where an interrupted run keeps how far it came (/var/lib/zestfs/scans or ~/.juicefs/scans)");
}

Checkpoint::Checkpoint(const Options& options, const std::string& uuid, const std::string& command,
                       const std::string& scan)
    : resume_(options.resume), header_(fmt::format("zestfs scan 1 {} {} {}\n", uuid, command, scan)) {
  if (auto opened = open_file(options.dir, fmt::format("{}-{}.scan", uuid, command)); !opened)
    unusable_ = opened.error().message();
}

Checkpoint::~Checkpoint() {
  if (fd_ < 0) return;
  flush();
  close(fd_);
}

Result<void> Checkpoint::open_file(const std::string& dir, const std::string& name) {
  std::error_code code;
  if (!std::filesystem::exists(dir, code)) {
    std::filesystem::create_directories(std::filesystem::path(dir).parent_path(), code);
    if (mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) return fail(errno, dir);
  }
  path_ = dir + "/" + name;
  fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd_ < 0) return fail(errno, path_);
  int error = 0;
  struct stat st {};
  if (fstat(fd_, &st) != 0)
    error = errno;
  else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
    error = EPERM;
  else if (flock(fd_, LOCK_EX | LOCK_NB) != 0)
    error = errno;
  if (!error) return {};
  close(fd_);
  fd_ = -1;
  return fail(error, error == EWOULDBLOCK ? "another scan of this volume is at work" : path_);
}

// ENOENT: there is nothing to go on from; the text says why.
Result<void> Checkpoint::replay(const std::function<bool(std::string_view line)>& each) {
  struct stat st {};
  if (fstat(fd_, &st) != 0) return fail(errno, path_);
  if (st.st_size == 0) return fail(ENOENT, "no interrupted run is known");
  if (time(nullptr) - st.st_mtime > kTooOldSec) return fail(ENOENT, "the interrupted run is older than a week");
  const int copy = dup(fd_);
  std::unique_ptr<FILE, int (*)(FILE*)> file(copy < 0 ? nullptr : fdopen(copy, "r"), fclose);
  if (!file || fseeko(file.get(), 0, SEEK_SET) != 0) return fail(errno, path_);
  char* line = nullptr;
  size_t room = 0;
  off_t good = 0;
  bool known = false;
  for (ssize_t n; (n = getline(&line, &room, file.get())) > 0 && line[n - 1] == '\n'; good += n) {
    const std::string_view text(line, static_cast<size_t>(n));
    if (good == 0 && text != header_) break;
    known = true;
    if (good > 0 && !each(text.substr(0, text.size() - 1))) break;
  }
  free(line);
  if (!known) return fail(ENOENT, "the interrupted run had other options, or its record is damaged");
  if (good < st.st_size) log_warning(path_ + ": its end is damaged; what it held is scanned again");
  return ftruncate(fd_, good) == 0 ? Result<void>() : fail(errno, path_);
}

void Checkpoint::begin(const std::function<bool(std::string_view line)>& each) {
  if (resume_ && fd_ < 0) log_warning(fmt::format("cannot resume: {}; starting over", unusable_));
  if (fd_ < 0) return;
  if (resume_) {
    auto replayed = replay(each);
    if (replayed) return;
    log_warning(fmt::format("cannot resume: {}; starting over", replayed.error().message()));
  }
  if (ftruncate(fd_, 0) != 0) log_warning(fmt::format("{}: {}", path_, Error{errno, Fault::kPlain, {}}.message()));
  add(std::string_view(header_).substr(0, header_.size() - 1));
}

void Checkpoint::add(std::string_view line) {
  std::lock_guard lock(mutex_);
  if (fd_ < 0) return;
  page_ += line;
  page_ += '\n';
  if (page_.size() >= kPage) flush();
}

// A file that cannot be written ends: what it holds stays true.
void Checkpoint::flush() {
  for (std::string_view left = page_; !left.empty();) {
    const ssize_t n = write(fd_, left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      unusable_ = fmt::format("{}: {}", path_, Error{errno, Fault::kPlain, {}}.message());
      close(fd_);
      fd_ = -1;
      break;
    }
    left.remove_prefix(static_cast<size_t>(n));
  }
  page_.clear();
}

void Checkpoint::finish() {
  std::lock_guard lock(mutex_);
  if (fd_ < 0) return;
  unlink(path_.c_str());
  close(fd_);
  fd_ = -1;
}

void Checkpoint::keep() {
  std::lock_guard lock(mutex_);
  if (fd_ >= 0) flush();
  if (fd_ >= 0)
    log_warning("it did not come to its end: the same command with --resume goes on where it stopped");
  else
    log_warning(fmt::format("it did not come to its end, and cannot be resumed: {}", unusable_));
}

}  // namespace zest::cli
