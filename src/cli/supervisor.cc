#include "cli/supervisor.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <optional>

#include "base/clock.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/mount_point.h"
#include "cli/mount_run.h"
#include "cli/takeover.h"
#include "cli/watchdog.h"
#include "fs/state_table.h"

namespace zest::cli {
namespace {

constexpr int kDied = 2;            // exit code: the mount process died, and starting others did not help
constexpr int64_t kQuickMs = 2000;  // dying sooner after having answered counts as failing at once
constexpr int kMaxQuick = 3;        // in a row
constexpr int64_t kPauseMs = 1000;  // before the next try; longer each time while it cannot start
constexpr int64_t kMaxPauseMs = 30'000;
constexpr int64_t kStartPatienceMs = 300'000;     // a process that cannot start (no database) is tried again so long
constexpr int64_t kSuccessorPatienceMs = 60'000;  // to get ready with what it was given
constexpr int64_t kRequestPatienceMs = 1000;
constexpr int64_t kAbortPatienceMs = 10'000;  // for a process that hangs to die by SIGABRT, which leaves a core
constexpr int64_t kLongLifeMs = 600'000;      // having served so long before it hung, it hangs for the first time

int64_t now_ms() { return system_clock().monotonic_ms(); }

// What a server process wants of the machine, for itself and the processes it starts; failing is no error.
void prepare_process() {
  rlimit files{};
  for (rlim_t wanted = 100'000; wanted >= 1024; wanted = wanted * 2 / 3) {
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur >= wanted) break;
    rlimit more{wanted, std::max(wanted, files.rlim_max)};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0) break;
  }
  signal(SIGPIPE, SIG_IGN);
  if (getuid() != 0) return;
  std::ofstream("/proc/self/oom_score_adj") << "-1000";
#ifdef PR_SET_IO_FLUSHER
  prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);  // memory reclaim must not wait for writing to ourselves
#endif
}

std::string describe(int status) {
  if (WIFSIGNALED(status)) return fmt::format("signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("exit code {}", WEXITSTATUS(status));
}

class Supervisor {
 public:
  Supervisor(const MountSettings& settings, Starter& starter, bool take_over)
      : settings_(settings),
        starter_(starter),
        take_over_(take_over),
        watchdog_(settings.watchdog_ms, settings.fuse.max_threads) {}
  int run();

 private:
  enum class Handover { kNone, kDraining, kGiven };

  Result<void> prepare();
  void start_worker();
  [[noreturn]] void become_worker(Fd link);
  void wait_for_events();
  void on_signals();
  void on_link();
  void on_message(Message message);
  void on_worker_end(int status);
  void look_after_worker();
  std::string why_not(const std::string& request) const;
  void on_successor_asks();
  void on_successor();
  void refuse(const std::string& why);
  void give();
  void keep();
  void restart(int status);
  void stop(int number);
  void finish(int code) { code_ = code; }
  void give_up(const std::string& why);
  void take_mount_away();

  const MountSettings& settings_;
  Starter& starter_;
  const bool take_over_;
  sigset_t signals_{}, old_signals_{};
  Fd signal_fd_, listener_, link_, device_, successor_;
  std::unique_ptr<fs::StateTable> table_;
  std::optional<int> code_;
  // the mount process
  pid_t worker_ = 0;
  int64_t ready_ms_ = 0;  // 0: not yet
  bool drained_ = false, unmounted_ = false, stopping_ = false;
  // starting it again
  int quick_ = 0, pauses_ = 0;
  int64_t start_at_ms_ = 0, failing_since_ms_ = 0;
  // ending one that hangs
  Watchdog watchdog_;
  int hangs_ = 0;               // in a row
  int64_t abort_until_ms_ = 0;  // 0: it was not told to die
  // handing the mount over
  Handover handover_ = Handover::kNone;
  int64_t handover_deadline_ms_ = 0;
};

Result<void> Supervisor::prepare() {
  sigemptyset(&signals_);
  for (int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD}) sigaddset(&signals_, number);
  sigprocmask(SIG_BLOCK, &signals_, &old_signals_);
  signal_fd_ = Fd(signalfd(-1, &signals_, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signal_fd_) return fail(errno, "signalfd");
  if (auto listener = listen_abstract(supervisor_address(getpid())))
    listener_ = std::move(*listener);
  else
    log_warning("a newer program cannot take the mount over: " + listener.error().message());
  ZEST_ASSIGN(table_, fs::StateTable::create());
  return {};
}

int Supervisor::run() {
  if (auto ready = prepare(); !ready) {
    starter_.failed(ready.error().message());
    return complain("", ready.error());
  }
  start_worker();
  while (!code_) wait_for_events();
  return *code_;
}

void Supervisor::start_worker() {
  start_at_ms_ = 0;
  ready_ms_ = 0;
  drained_ = unmounted_ = false;
  abort_until_ms_ = 0;
  auto pair = message_pair();
  pid_t pid = pair ? fork() : -1;
  if (pid < 0) return give_up(fmt::format("no process can be started: {}", std::strerror(errno)));
  if (pid == 0) {
    pair->first.reset();
    become_worker(std::move(pair->second));
  }
  link_ = std::move(pair->first);
  worker_ = pid;
}

void Supervisor::become_worker(Fd link) {
  Assignment assignment;
  assignment.link = link.release();
  assignment.table = table_->fd();
  assignment.device = device_.release();
  assignment.refuse_resent = quick_ == kMaxQuick - 1 || hangs_ > 1;
  assignment.take_over = take_over_ && assignment.device < 0;
  for (Fd* fd : {&signal_fd_, &listener_, &link_, &successor_}) fd->reset();
  sigprocmask(SIG_SETMASK, &old_signals_, nullptr);
  _exit(serve_mount(settings_, starter_, assignment));
}

void Supervisor::wait_for_events() {
  int64_t due = std::max(start_at_ms_, handover_ == Handover::kGiven ? handover_deadline_ms_ : 0);
  int timeout = due == 0 ? -1 : static_cast<int>(std::max<int64_t>(0, due - now_ms()));
  if (auto interval = static_cast<int>(watchdog_.interval_ms()); interval > 0 && ready_ms_ != 0)
    timeout = timeout < 0 ? interval : std::min(timeout, interval);
  pollfd fds[] = {{signal_fd_.get(), POLLIN, 0},
                  {link_.get(), POLLIN, 0},
                  {listener_.get(), POLLIN, 0},
                  {successor_.get(), POLLIN, 0}};
  if (poll(fds, 4, timeout) < 0) return;
  if (watchdog_.interval_ms() > 0) look_after_worker();
  if (fds[1].revents) on_link();
  if (fds[0].revents) on_signals();
  if (fds[3].revents) on_successor();
  if (fds[2].revents) on_successor_asks();
  if (code_) return;
  if (start_at_ms_ != 0 && now_ms() >= start_at_ms_) start_worker();
  if (handover_ == Handover::kGiven && now_ms() >= handover_deadline_ms_) keep();
}

void Supervisor::on_signals() {
  signalfd_siginfo info;
  while (read(signal_fd_.get(), &info, sizeof(info)) == sizeof(info)) {
    auto number = static_cast<int>(info.ssi_signo);
    if (number == SIGTERM || number == SIGINT) stop(number);
    if (number == SIGHUP) reopen_log();
    if (worker_ > 0 && number != SIGCHLD) kill(worker_, number);
  }
  int status = 0;
  while (worker_ > 0 && waitpid(worker_, &status, WNOHANG) == worker_) {
    while (link_) on_link();  // what it said last
    worker_ = 0;
    on_worker_end(status);
  }
}

// Without a process there is nothing to flush.
void Supervisor::stop(int number) {
  stopping_ = true;
  // One that waits for another's mount must not get it now only to take it away.
  if (worker_ > 0 && take_over_ && !device_) kill(worker_, SIGKILL);
  if (worker_ > 0 || handover_ == Handover::kGiven) return;
  log_info(fmt::format("got signal {}: unmounting", number));
  take_mount_away();
  finish(0);
}

void Supervisor::on_link() {
  auto message = receive_message(link_.get());
  if (message)
    on_message(std::move(*message));
  else
    link_.reset();
}

void Supervisor::on_message(Message message) {
  auto& text = message.text;
  if (text == link::kMounted && message.files.size() == 1) {
    device_ = std::move(message.files[0]);
  } else if (text == link::kTook && message.files.size() == 2) {
    auto table = fs::StateTable::attach(std::move(message.files[1]));
    if (!table) return log_error("the mount is not watched over: " + table.error().message());
    device_ = std::move(message.files[0]);
    table_ = std::move(*table);
  } else if (text == link::kReady) {
    ready_ms_ = now_ms();
    failing_since_ms_ = pauses_ = 0;
  } else if (text == link::kUnmounted) {
    unmounted_ = true;
  } else if (text == link::kDrained) {
    drained_ = true;
  } else if (text.starts_with(link::kBusy) && handover_ == Handover::kDraining) {
    refuse(text.substr(std::strlen(link::kBusy)));
  }
}

void Supervisor::on_worker_end(int status) {
  if (drained_) return successor_ ? give() : keep();
  if (successor_) refuse("the process that serves the mount ended");
  bool died = WIFSIGNALED(status);
  int code = died ? kDied : WEXITSTATUS(status);
  if (code == kUnmountedItself) take_mount_away();
  if (code == 0 || code == kUnmountedItself || unmounted_) return finish(code);
  if (device_ && !stopping_) return restart(status);
  if (device_) take_mount_away();
  if (died) {
    auto text = fmt::format("the mount process died by {}", describe(status));
    starter_.failed(text);
    complain(text);
  }
  finish(code);
}

// What a process was doing when it hung for the second time is refused to the next.
void Supervisor::look_after_worker() {
  if (worker_ == 0 || ready_ms_ == 0 || !device_ || handover_ != Handover::kNone || stopping_) return;
  const int64_t now = now_ms();
  if (abort_until_ms_ != 0) {
    if (now >= abort_until_ms_) kill(worker_, SIGKILL);
    return;
  }
  if (!watchdog_.hung(worker_, device_.get(), *table_, now)) return;
  log_error(fmt::format("the mount process {} hangs: for {} s it has taken no request, and some wait; it is ended",
                        worker_, settings_.watchdog_ms / 1000));
  hangs_ = now - ready_ms_ >= std::max(kLongLifeMs, 10 * settings_.watchdog_ms) ? 1 : hangs_ + 1;
  abort_until_ms_ = now + kAbortPatienceMs;
  kill(worker_, SIGABRT);
}

// Dying at once, three times in a row, will not get better. Not being able to start may: the database may be away.
void Supervisor::restart(int status) {
  int64_t now = now_ms(), pause = 0;
  if (WIFEXITED(status) && ready_ms_ == 0) {
    if (failing_since_ms_ == 0) failing_since_ms_ = now;
    if (now - failing_since_ms_ >= kStartPatienceMs)
      return give_up(fmt::format("no mount process could start for {} s", kStartPatienceMs / 1000));
    pause = std::min(kMaxPauseMs, kPauseMs << std::min(pauses_++, 10));
  } else {
    quick_ = ready_ms_ != 0 && now - ready_ms_ >= kQuickMs ? 0 : quick_ + 1;
    if (quick_ == kMaxQuick)
      return give_up(fmt::format("the mount process died {} times in a row just after it was started", quick_));
    pause = quick_ == 0 ? 0 : kPauseMs;
  }
  log_error(fmt::format("the mount process died by {}: another one goes on with the mount{}", describe(status),
                        pause ? fmt::format(" in {} s", pause / 1000) : std::string()));
  if (!table_->header().initialised) {  // the kernel has not seen it work yet: nobody uses it
    take_mount_away();
    device_.reset();
    auto table = fs::StateTable::create();
    if (!table) return give_up(table.error().message());
    table_ = std::move(*table);
  }
  start_at_ms_ = now + pause;
}

void Supervisor::give_up(const std::string& why) {
  auto text = fmt::format("giving up on {}: {}; it is unmounted", settings_.mount_point, why);
  starter_.failed(text);
  complain(text);
  if (device_) take_mount_away();
  finish(kDied);
}

// What still waits for an answer gets ENOTCONN when the device is closed.
void Supervisor::take_mount_away() {
  if (!is_mount_point(settings_.mount_point)) return;
  if (auto done = unmount(settings_.mount_point, true); !done) log_error(done.error().message());
}

// --- handing the mount over ---

// Why a process that asks with this text cannot go on with the mount now; empty: it can.
std::string Supervisor::why_not(const std::string& request) const {
  if (!request.starts_with(kTakeOver)) return "it speaks another version";
  const auto words = request.substr(std::strlen(kTakeOver));
  const auto end = std::min(words.find('\n'), words.size());
  const auto layout = words.substr(0, end), own = table_->own_layout();
  if (layout != own)
    return fmt::format("it keeps what is open in layout {}, the new program in {}: unmount it, and mount again", own,
                       layout);
  if (words.substr(std::min(end + 1, words.size())) != table_->identity())
    return "it serves another volume, or with other options: " + table_->identity();
  if (successor_) return "another process is taking it over";
  if (worker_ == 0 || ready_ms_ == 0 || !device_ || stopping_) return "it is being started or stopped";
  return {};
}

void Supervisor::on_successor_asks() {
  Fd connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection) return;
  auto peer = peer_of(connection.get());
  if (!peer || (peer->uid != getuid() && peer->uid != 0)) return;
  auto request = receive_message(connection.get(), kRequestPatienceMs);
  if (!request) return;
  std::string why = why_not(request->text);
  if (why.empty())
    if (auto sent = send_message(link_.get(), link::kHandOver); !sent) why = sent.error().message();
  if (!why.empty()) {
    (void)send_message(connection.get(), kRefused + why);
    return;
  }
  log_info(fmt::format("process {} asks for the mount: finishing what is under way", peer->pid));
  successor_ = std::move(connection);
  handover_ = Handover::kDraining;
}

void Supervisor::refuse(const std::string& why) {
  log_warning("the mount is not handed over: " + why);
  (void)send_message(successor_.get(), kRefused + why);
  successor_.reset();
  handover_ = Handover::kNone;
}

void Supervisor::give() {
  auto sent = send_message(successor_.get(), kYours, {device_.get(), table_->fd()});
  if (!sent) return keep();
  handover_ = Handover::kGiven;
  handover_deadline_ms_ = now_ms() + kSuccessorPatienceMs;
}

// The one that was to take the mount did not: a process of ours goes on.
void Supervisor::keep() {
  successor_.reset();
  handover_ = Handover::kNone;
  if (stopping_) {
    take_mount_away();
    return finish(0);
  }
  log_warning("the mount is not handed over: the new process went away");
  start_at_ms_ = now_ms();
}

void Supervisor::on_successor() {
  auto message = receive_message(successor_.get());
  if (!message && handover_ == Handover::kDraining) {
    successor_.reset();  // known again when the process has finished
    return;
  }
  if (!message || message->text != kServing || handover_ != Handover::kGiven) return keep();
  if (auto sent = send_message(successor_.get(), kGo); !sent) return keep();
  log_info("the mount is handed over: this process ends");
  finish(0);
}

}  // namespace

int supervise(const MountSettings& settings, Starter& starter, bool take_over) {
  prepare_process();
  return Supervisor(settings, starter, take_over).run();
}

}  // namespace zest::cli
