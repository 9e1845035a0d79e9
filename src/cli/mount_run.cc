#include "cli/mount_run.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <thread>

#include "base/log.h"
#include "base/threads.h"
#include "cli/backup.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/mount_metrics.h"
#include "cli/mount_point.h"

namespace zest::cli {
namespace {

constexpr int64_t kUnmountPatienceMs = 30'000;

std::vector<std::string> addresses() {
  std::vector<std::string> out;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return out;
  for (auto* one = all; one; one = one->ifa_next) {
    if (!one->ifa_addr || (one->ifa_flags & IFF_LOOPBACK) || one->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN];
    auto* in = reinterpret_cast<sockaddr_in*>(one->ifa_addr);
    if (inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text))) out.emplace_back(text);
  }
  freeifaddrs(all);
  return out;
}

SessionInfo session_info(const MountSettings& settings) {
  SessionInfo info;
  info.version = std::string(kCompatVersion) + "+zestfs";
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  info.host = host;
  info.mount_point = settings.mount_point;
  info.addresses = addresses();
  info.mount_time = system_clock().now();
  info.pid = getpid();
  return info;
}

// What a server process wants of the machine; failing is no error.
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

// The layers of a mount, in the order they are built; taken down in the other order.
class Service {
 public:
  explicit Service(const MountSettings& settings) : settings_(settings) {}

  Result<void> open();
  Result<void> mount();
  void serve() { session_->run(); }
  // Flushes everything and says goodbye to the database.
  Result<void> close();
  Result<void> unmount() { return session_->unmount(); }
  void flush_all() {
    if (auto flushed = data_->flush_all(); !flushed) log_error("flush: " + flushed.error().message());
  }
  const Format& format() const { return format_; }
  // Set when the database says that this client must go.
  std::atomic<bool> must_exit{false};

 private:
  void listen_to_events();
  MountSettings settings_;
  Format format_;
  std::unique_ptr<meta::Meta> meta_;
  std::unique_ptr<data::Data> data_;
  object::Replaceable* storage_ = nullptr;
  std::unique_ptr<fs::FileSystem> fs_;
  std::unique_ptr<Backup> backup_;
  std::optional<MountMetrics> metrics_;
  std::unique_ptr<fuse::Session> session_;
  std::atomic<fs::FileSystem*> live_{nullptr};  // for events, which come on threads of the metadata
};

Result<void> Service::open() {
  ZEST_ASSIGN(auto client, open_client(settings_));
  format_ = std::move(client.format);
  meta_ = std::move(client.meta);
  data_ = std::move(client.data);
  storage_ = client.storage;
  listen_to_events();
  ZEST_TRY(meta_->start_session(session_info(settings_)));
  if (meta_->session_id() != 0) log_info(fmt::format("Session {}", meta_->session_id()));
  return {};
}

void Service::listen_to_events() {
  meta::Events events;
  events.must_exit = [this](const std::string& why) {
    log_error(why);
    must_exit = true;
    kill(getpid(), SIGTERM);
  };
  events.format_changed = [this, in_use = format_](const Format& now) mutable {
    follow_format(settings_, in_use, now, *storage_);
  };
  events.inode_changed = [this](Ino ino, bool data) {
    if (data) data_->invalidate(ino, 0, kMaxFileSize);
    auto* fs = live_.load();
    auto* cache = fs ? fs->client_cache() : nullptr;
    if (cache) cache->forget_inode(ino, data ? 0 : -1, 0);
  };
  events.entry_changed = [this](Ino parent, const std::string& name) {
    auto* fs = live_.load();
    auto* cache = fs ? fs->client_cache() : nullptr;
    if (cache) cache->forget_entry(parent, name);
  };
  meta_->set_events(std::move(events));
}

Result<void> Service::mount() {
  metrics_.emplace(settings_);
  metrics_->listen(settings_.fs);
  auto& fuse = settings_.fuse;
  const char* prefix = getenv("FSTAB_NAME_PREFIX");
  fuse.fs_name = (prefix ? prefix : "zestfs:") + format_.name;
  fuse.posix_acl = format_.enable_acl;
  auto& fs = settings_.fs;
  fs.fs_name = fuse.fs_name;
  fs.cap_acl = format_.enable_acl;
  fs.dont_mask = format_.enable_acl || fuse.umask != 0xFFFF;
  fs_ = std::make_unique<fs::FileSystem>(*meta_, *data_, system_clock(), fs);
  if (fs.backup_meta_ms > 0 && !meta_->options().read_only && !meta_->options().no_background_jobs) {
    BackupOptions options{settings_.url, fs.backup_meta_ms, fs.backup_skip_trash};
    backup_ = std::make_unique<Backup>(*meta_, data_->storage(), system_clock(), options);
    fs_->add_metrics([this](fs::Metrics& out) { backup_->add_metrics(out); });
  }
  metrics_->start(*fs_, format_.name);
  ZEST_ASSIGN(session_, fuse::Session::mount(*fs_, fuse));
  live_ = fs_.get();
  return {};
}

Result<void> Service::close() {
  metrics_.reset();
  if (backup_) backup_->stop();
  Result<void> result;
  if (data_) result = data_->flush_all();
  // Ending the session ends its jobs, which work on data and tell of changes: what they use outlives it.
  if (meta_)
    if (auto closed = meta_->close_session(); !closed && result) result = std::move(closed);
  session_.reset();
  backup_.reset();
  fs_.reset();
  if (data_)
    if (auto closed = data_->close(); !closed && result) result = std::move(closed);
  if (meta_) meta_->set_data_hooks(nullptr);
  data_.reset();
  meta_.reset();
  return result;
}

// Signals are blocked in every thread and waited for here.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    for (int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&set_, number);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  ~Signals() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  void start(Service& service) {
    thread_ = std::thread([this, &service] { run(service); });
  }

 private:
  void run(Service& service) {
    name_this_thread("signals");
    std::optional<int64_t> give_up;
    while (!stop_) {
      timespec patience{0, 100'000'000};
      int number = sigtimedwait(&set_, nullptr, &patience);
      int64_t now = system_clock().monotonic_ms();
      if (number == SIGTERM || number == SIGINT) {
        log_info(fmt::format("got signal {}: unmounting", number));
        if (auto done = service.unmount(); !done) log_error(done.error().message());
        if (!give_up) give_up = now + kUnmountPatienceMs;
      } else if (number == SIGHUP) {
        service.flush_all();
        reopen_log();
      }
      if (give_up && now >= *give_up && !stop_) {
        log_warning("files are still open after unmounting: everything is flushed, the client ends");
        service.flush_all();
        _exit(kUnmountedItself);
      }
    }
  }
  sigset_t set_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace

int serve_mount(const MountSettings& settings, Starter& starter) {
  prepare_process();
  Signals signals;
  Service service(settings);
  auto give_up = [&](const Error& error) {
    auto text = mask_secrets(error.message());
    starter.failed(text);
    complain(text);
    if (auto closed = service.close(); !closed) log_error(closed.error().message());
    return 1;
  };
  if (auto opened = service.open(); !opened) return give_up(opened.error());
  if (auto mounted = service.mount(); !mounted) return give_up(mounted.error());
  signals.start(service);
  std::thread greeter([&] {
    // The kernel answers once the connection is set up: asked from a thread that the service does not need.
    struct stat st {};
    if (stat(settings.mount_point.c_str(), &st) == 0 && st.st_ino == 1) {
      log_info(fmt::format("OK, {} is ready at {}", service.format().name, settings.mount_point));
      starter.ready();
    }
  });
  service.serve();
  greeter.join();
  log_info(fmt::format("{} is unmounted: flushing", settings.mount_point));
  auto closed = service.close();
  if (!closed) {
    log_error("not everything could be written: " + closed.error().message());
    return 1;
  }
  return service.must_exit ? kUnmountedItself : 0;
}

}  // namespace zest::cli
