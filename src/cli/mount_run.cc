#include "cli/mount_run.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <optional>
#include <thread>

#include "base/log.h"
#include "base/threads.h"
#include "cli/backup.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/mount_metrics.h"
#include "cli/mount_point.h"
#include "cli/takeover.h"

namespace zest::cli {
namespace {

constexpr int64_t kUnmountPatienceMs = 30'000;
constexpr int64_t kDrainMs = 60'000;  // for requests that are being served when the mount is handed over

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

// The layers of a mount, in the order they are built; taken down in the other order.
class Service {
 public:
  Service(const MountSettings& settings, const Assignment& assignment)
      : settings_(settings),
        assignment_(assignment),
        link_(assignment.link),
        table_fd_(assignment.table),
        device_(assignment.device) {}

  Result<void> open();
  Result<void> mount();
  void serve() {
    served_ = true;
    session_->run();
  }
  // Flushes everything and says goodbye to the database, unless the session goes on in another process.
  Result<void> close();
  Result<void> unmount() { return session_->unmount(); }
  // Finishes what is under way and writes everything; serve() returns then. An error: it goes on serving.
  Result<void> hand_over();
  bool handed_over() const { return handed_over_; }
  int link() const { return link_.get(); }
  void flush_all() {
    if (auto flushed = data_->flush_all(); !flushed) log_error("flush: " + flushed.error().message());
  }
  const Format& format() const { return format_; }
  // Set when the database says that this client must go.
  std::atomic<bool> must_exit{false};

 private:
  void listen_to_events();
  void check_acls();
  Result<void> take_from_other(const Format& format);
  Result<void> start_session();
  Result<void> start_fuse();
  MountSettings settings_;
  const Assignment assignment_;
  Fd link_, table_fd_, device_;
  Takeover takeover_;
  bool adopts_ = false;  // a mount that was there before
  bool served_ = false;
  std::atomic<bool> handed_over_{false};
  std::shared_ptr<fs::StateTable> table_;
  Format format_;
  std::unique_ptr<meta::Meta> meta_;
  std::unique_ptr<data::Data> data_;
  object::Replaceable* storage_ = nullptr;
  std::unique_ptr<fs::FileSystem> fs_;
  std::unique_ptr<Backup> backup_;
  std::optional<MountMetrics> metrics_;
  std::unique_ptr<fuse::Session> session_;
  std::atomic<fs::FileSystem*> live_{nullptr};  // for events, which come on threads of the metadata
  std::atomic<fuse::Session*> watching_{nullptr};
  std::atomic<bool> acl_from_start_{false};
};

Result<void> Service::open() {
  ZEST_ASSIGN(auto client, open_client(settings_, [this](const Format& format) { return take_from_other(format); }));
  format_ = std::move(client.format);
  meta_ = std::move(client.meta);
  data_ = std::move(client.data);
  storage_ = client.storage;
  listen_to_events();
  return start_session();
}

Result<void> Service::take_from_other(const Format& format) {
  auto identity = mount_identity(settings_, format);
  if (assignment_.take_over) {
    ZEST_ASSIGN(takeover_, take_over(settings_.mount_point, identity));
    table_fd_ = std::move(takeover_.table);
    device_ = std::move(takeover_.device);
    log_info("the process before has finished");
  }
  adopts_ = static_cast<bool>(device_);
  ZEST_ASSIGN(table_, fs::StateTable::attach(std::move(table_fd_)));
  // What the kernel was told at first holds as long as the mount.
  if (!adopts_) table_->header().posix_acl = format.enable_acl;
  return table_->set_identity(identity);
}

Result<void> Service::start_session() {
  auto& sid = table_->header().session;
  ZEST_TRY(meta_->start_session(session_info(settings_), adopts_ ? sid.load() : 0));
  sid = meta_->session_id();
  if (sid != 0) log_info(fmt::format("Session {}", sid.load()));
  return {};
}

// The device stays open in this process until it is known who has the mount.
Result<void> Service::start_fuse() {
  if (!adopts_) {
    ZEST_ASSIGN(session_, fuse::Session::mount(*fs_, settings_.fuse));
    return send_message(link_.get(), link::kMounted, {session_->device()});
  }
  ZEST_ASSIGN(auto lost, fs_->restore());
  log_info(fmt::format("going on with the mount: {} open files", fs_->open_inodes()));
  ZEST_ASSIGN(session_, fuse::Session::adopt(*fs_, settings_.fuse, std::move(device_), assignment_.refuse_resent));
  for (Ino ino : lost) fs_->client_cache()->forget_inode(ino, 0, 0);
  if (!takeover_.connection) return {};
  ZEST_TRY(settle_takeover(takeover_));
  return send_message(link_.get(), link::kTook, {session_->device(), table_->fd()});
}

Result<void> Service::hand_over() {
  if (!session_->drain(kDrainMs)) return fail(EBUSY, fmt::format("requests did not end within {} s", kDrainMs / 1000));
  if (auto flushed = fs_->flush_all(); !flushed) {
    session_->resume();
    return flushed;
  }
  handed_over_ = true;
  session_->hand_over();
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
    if (now.enable_acl) check_acls();
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
  const bool acl = table_->header().posix_acl != 0;
  fuse.posix_acl = acl;
  auto& fs = settings_.fs;
  fs.fs_name = fuse.fs_name;
  fs.cap_acl = acl;
  fs.dont_mask = acl || fuse.umask != 0xFFFF;
  fs_ = std::make_unique<fs::FileSystem>(*meta_, *data_, system_clock(), fs, table_);
  if (fs.backup_meta_ms > 0 && !meta_->options().read_only && !meta_->options().no_background_jobs) {
    BackupOptions options{settings_.url, fs.backup_meta_ms, fs.backup_skip_trash};
    backup_ = std::make_unique<Backup>(*meta_, data_->storage(), system_clock(), options);
    fs_->add_metrics([this](fs::Metrics& out) { backup_->add_metrics(out); });
  }
  metrics_->start(*fs_, format_.name);
  ZEST_TRY(start_fuse());
  live_ = fs_.get();
  acl_from_start_ = fuse.posix_acl;
  watching_ = session_.get();
  if (meta_->format().enable_acl) check_acls();
  return {};
}

void Service::check_acls() {
  auto* session = watching_.load();
  if (!session || acl_from_start_ || session->checks_acls()) return;
  session->check_acls();
  log_warning(
      "ACLs are in use now: what they forbid is refused here, what they allow beyond the mode only after unmounting "
      "and mounting anew");
}

Result<void> Service::close() {
  metrics_.reset();
  if (backup_) backup_->stop();
  Result<void> result;
  if (data_) result = data_->flush_all();
  // Ending the session ends its jobs, which work on data and tell of changes: what they use outlives it.
  if (meta_)
    if (auto closed = meta_->close_session(handed_over_ || (adopts_ && !served_)); !closed && result)
      result = std::move(closed);
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
        if (give_up) continue;
        log_info(fmt::format("got signal {}: unmounting", number));
        if (auto done = service.unmount(); !done) log_error(done.error().message());
        give_up = now + kUnmountPatienceMs;
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

// Does what the supervisor asks for, on a thread of its own.
class Link {
 public:
  explicit Link(Service& service) : service_(service), thread_([this] { run(); }) {}
  ~Link() {
    ending_ = true;
    shutdown(service_.link(), SHUT_RD);
    thread_.join();
  }

 private:
  void run() {
    name_this_thread("supervisor");
    while (auto message = receive_message(service_.link())) {
      if (message->text != link::kHandOver) continue;
      log_info("handing the mount over: finishing what is under way");
      auto done = service_.hand_over();
      if (done) return;
      (void)send_message(service_.link(), link::kBusy + done.error().what);
    }
    if (!ending_) log_warning("the supervisor of the mount has gone: a crash will not be helped");
  }
  Service& service_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

// The kernel answers once the connection is set up: asked from a thread that the service does not need.
void greet(const Service& service, const std::string& mount_point, Starter& starter) {
  struct stat st {};
  if (stat(mount_point.c_str(), &st) != 0 || st.st_ino != 1) return;
  log_info(fmt::format("OK, {} is ready at {}", service.format().name, mount_point));
  (void)send_message(service.link(), link::kReady);
  starter.ready();
}

// The exit code, after serving.
int finish(Service& service, const std::string& mount_point) {
  if (!service.handed_over()) {
    (void)send_message(service.link(), link::kUnmounted);
    log_info(fmt::format("{} is unmounted: flushing", mount_point));
  }
  auto closed = service.close();
  if (!closed) log_error("not everything could be written: " + closed.error().message());
  if (service.handed_over()) (void)send_message(service.link(), link::kDrained);
  if (!closed && !service.handed_over()) return 1;
  return service.must_exit ? kUnmountedItself : 0;
}

}  // namespace

int serve_mount(const MountSettings& settings, Starter& starter, const Assignment& assignment) {
  Signals signals;
  Service service(settings, assignment);
  auto opened = service.open();
  if (opened) opened = service.mount();
  if (!opened) {
    auto text = mask_secrets(opened.error().message());
    starter.failed(text);
    complain(text);
    if (auto closed = service.close(); !closed) log_error(closed.error().message());
    return 1;
  }
  signals.start(service);
  std::thread greeter([&] { greet(service, settings.mount_point, starter); });
  {
    Link link(service);
    service.serve();
  }
  greeter.join();
  return finish(service, settings.mount_point);
}

}  // namespace zest::cli
