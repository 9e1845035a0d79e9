#include "front/fuse/session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fuse3/fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "base/threads.h"
#include "front/fuse/kernel.h"
#include "front/fuse/request.h"

namespace zest::fuse {
namespace {

constexpr size_t kMaxApart = 4096;
constexpr unsigned kMaxBackground = 128;
constexpr auto kDrainPoll = std::chrono::milliseconds(20);
constexpr size_t kQuickBytes = 64 << 10;

void on_init(void* self, fuse_conn_info* conn) {
  auto& options = static_cast<Session*>(self)->options();
  auto want = [&](unsigned bit, bool on = true) {
    if (on && (conn->capable & bit))
      conn->want |= bit;
    else
      conn->want &= ~bit;
  };
  want(FUSE_CAP_ASYNC_READ);
  want(FUSE_CAP_POSIX_LOCKS);
  want(FUSE_CAP_FLOCK_LOCKS);
  want(FUSE_CAP_EXPORT_SUPPORT);
  want(FUSE_CAP_AUTO_INVAL_DATA);
  want(FUSE_CAP_READDIRPLUS);
  want(FUSE_CAP_READDIRPLUS_AUTO);
  want(FUSE_CAP_PARALLEL_DIROPS);
  want(FUSE_CAP_CACHE_SYMLINKS);
  want(FUSE_CAP_IOCTL_DIR, options.enable_ioctl);
  want(FUSE_CAP_ASYNC_DIO, options.async_dio);
  want(FUSE_CAP_WRITEBACK_CACHE, options.writeback_cache);
  want(FUSE_CAP_POSIX_ACL, options.posix_acl);
  want(FUSE_CAP_DONT_MASK, options.posix_acl || options.umask != 0xFFFF);
  // The kernel clears setuid bits by SETATTR, and truncates by SETATTR before opening: one place decides either way.
  want(FUSE_CAP_HANDLE_KILLPRIV, false);
  want(FUSE_CAP_ATOMIC_O_TRUNC, false);
  // Data is copied into buffers of our own in any case, and session.cc looks into requests.
  want(FUSE_CAP_SPLICE_READ, false);
  want(FUSE_CAP_SPLICE_WRITE, false);
  want(FUSE_CAP_SPLICE_MOVE, false);
  conn->max_write = options.max_io;
  conn->max_read = options.max_io;
  conn->max_readahead = std::min<unsigned>(conn->max_readahead, 1 << 20);
  conn->max_background = kMaxBackground;
  conn->congestion_threshold = kMaxBackground * 3 / 4;
}

fuse_in_header header_of(const fuse_buf& buf) {
  fuse_in_header header{};
  if (buf.size >= sizeof(header)) std::memcpy(&header, buf.mem, sizeof(header));
  return header;
}

// libfuse 3.14 would answer ENOSYS to FUSE_TMPFILE. Its body and reply are those of FUSE_CREATE, and the flags tell:
// those of open(2), or none where an overlay file system asks.
void adapt(fuse_buf& buf) {
  struct {
    fuse_in_header header;
    fuse_create_in body;
  } request;
  if (header_of(buf).opcode != FUSE_TMPFILE || buf.size < sizeof(request)) return;
  std::memcpy(&request, buf.mem, sizeof(request));
  request.header.opcode = FUSE_CREATE;
  request.body.flags |= O_TMPFILE;
  std::memcpy(buf.mem, &request, sizeof(request));
}

// Small reads and writes mostly find all they need in memory.
bool is_quick(const fuse_buf& buf) {
  auto header = header_of(buf);
  if (is_special(Ino{header.nodeid})) return false;
  if (header.opcode == FUSE_WRITE) return buf.size <= kQuickBytes;
  fuse_read_in read;
  if (header.opcode != FUSE_READ || buf.size < sizeof(header) + sizeof(read)) return false;
  std::memcpy(&read, static_cast<char*>(buf.mem) + sizeof(header), sizeof(read));
  return read.size <= kQuickBytes;
}

// Until a request is there, or for a moment.
void watch(int device) {
  auto end = std::chrono::steady_clock::now() + Listeners::kSoon;
  pollfd request{device, POLLIN, 0};
  while (poll(&request, 1, 0) == 0 && std::chrono::steady_clock::now() < end) {
  }
}

int run_program(const std::vector<std::string>& argv) {
  std::vector<char*> pointers;
  for (auto& arg : argv) pointers.push_back(const_cast<char*>(arg.c_str()));
  pointers.push_back(nullptr);
  pid_t pid = fork();
  if (pid == 0) {
    execvp(pointers[0], pointers.data());
    _exit(127);
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) < 0) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The reply to a replayed INIT is for nobody: the kernel had one.
thread_local bool replaying = false;
thread_local bool greeting = false;  // INIT is being served

// libfuse 3.14 does not pass FUSE_CAP_PARALLEL_DIROPS on to the kernel, which then looks up the names of one directory
// one after another. So the flag is put into its reply to INIT here.
void allow_parallel(iovec* parts, int count) {
  if (count == 2 && parts[1].iov_len >= offsetof(fuse_init_out, max_background))
    static_cast<fuse_init_out*>(parts[1].iov_base)->flags |= FUSE_PARALLEL_DIROPS;
}

ssize_t write_reply(int fd, iovec* parts, int count, void*) {
  if (greeting) allow_parallel(parts, count);
  if (!replaying) return writev(fd, parts, count);
  ssize_t total = 0;
  for (int i = 0; i < count; i++) total += static_cast<ssize_t>(parts[i].iov_len);
  return total;
}

// A thread that reads requests only wakes when one comes. Should there be nobody left who takes it, the next process
// does, or this one when it goes on; the thread ends with the process.
void wake_listener(const std::string& mount_point, const std::shared_ptr<std::atomic<size_t>>& wakers) {
  ++*wakers;
  std::thread([mount_point, wakers] {
    struct statfs st;
    statfs(mount_point.c_str(), &st);
    --*wakers;
  }).detach();
}

ssize_t read_request(int fd, void* into, size_t size, void*) { return read(fd, into, size); }

constexpr fuse_custom_io kIo{write_reply, read_request, nullptr, nullptr};

}  // namespace

Session::Session(fs::FileSystem& fs, Options options)
    : fs_(fs),
      options_(std::move(options)),
      table_(fs.table()),
      listeners_(options_.max_threads, options_.idle_threads, [this] { std::thread([this] { work(); }).detach(); }) {}

Result<std::unique_ptr<Session>> Session::create(fs::FileSystem& fs, const Options& options) {
  std::unique_ptr<Session> session(new Session(fs, options));
  fuse_args args = FUSE_ARGS_INIT(0, nullptr);
  fuse_opt_add_arg(&args, "zestfs");
  auto add = [&](const std::string& option) {
    fuse_opt_add_arg(&args, "-o");
    fuse_opt_add_arg(&args, option.c_str());
  };
  add("fsname=" + options.fs_name);
  add("subtype=" + options.subtype);
  add(fmt::format("max_read={}", options.max_io));
  if (options.default_permissions) add("default_permissions");
  if (options.allow_other) add("allow_other");
  for (auto& option : options.mount_options) add(option);
  auto ops = operations(options);
  ops.init = on_init;
  session->session_ = fuse_session_new(&args, &ops, sizeof(ops), session.get());
  fuse_opt_free_args(&args);
  if (!session->session_) return fail(EINVAL, "fuse: options not understood");
  session->interrupts_ = std::make_unique<Interrupts>();
  session->notifier_ = std::make_unique<Notifier>(*session);
  return session;
}

void Session::start() {
  notifier_->start();
  fs_.set_client_cache(notifier_.get());
}

Result<std::unique_ptr<Session>> Session::mount(fs::FileSystem& fs, const Options& options) {
  ZEST_ASSIGN(auto session, create(fs, options));
  if (fuse_session_mount(session->session_, options.mount_point.c_str()) != 0) {
    fuse_session_destroy(std::exchange(session->session_, nullptr));
    return fail(EIO, fmt::format("cannot mount on {}", options.mount_point));
  }
  if (fuse_session_custom_io(session->session_, &kIo, session->device()) != 0) return fail(ENOMEM);
  session->start();
  return session;
}

Result<std::unique_ptr<Session>> Session::adopt(fs::FileSystem& fs, const Options& options, Fd device,
                                                bool refuse_resent) {
  ZEST_ASSIGN(auto session, create(fs, options));
  session->adopted_ = true;
  session->refuse_resent_ = refuse_resent;
  if (fuse_session_custom_io(session->session_, &kIo, device.get()) != 0) return fail(EINVAL, "fuse: cannot adopt");
  device.release();  // the session closes it
  ZEST_TRY(session->replay_init());
  session->collect_attempts();
  session->start();
  return session;
}

// What libfuse and the kernel agreed on follows from the kernel's request and from the options.
Result<void> Session::replay_init() {
  auto& header = table_.header();
  std::string init(header.init, header.init_size);
  can_resend_ = can_resend(init.data(), init.size());
  fuse_buf buf{};
  buf.mem = init.data();
  buf.size = init.size();
  replaying = true;
  fuse_session_process_buf(session_, &buf);
  replaying = false;
  if (fuse_session_exited(session_)) return fail(EPROTO, "fuse: the kernel's greeting is not understood");
  return {};
}

void Session::collect_attempts() {
  std::vector<fs::Record*> left;
  table_.each([&](fs::Record& record) {
    if (record.kind == fs::Record::kRequest) left.push_back(&record);
  });
  for (auto* record : left) {
    auto& request = record->request;
    if (request.unique != 0) {
      attempts_[request.unique] = request.attempt;
      if (!can_resend_) answer(device(), request.unique, EINTR);
    }
    table_.give_back(record);
  }
}

int Session::device() const { return fuse_session_fd(session_); }

Session::~Session() {
  fs_.set_client_cache(nullptr);
  if (notifier_) notifier_->stop();
  if (!session_) return;
  if (handed_over_) return;  // the mount goes on; the process ends in a moment
  fuse_session_unmount(session_);
  fuse_session_destroy(session_);
}

void Session::run() {
  // Before anybody reads: what is being served here must not come again.
  if (adopted_ && can_resend_) ask_to_resend(device());
  listeners_.start();
  std::unique_lock lock(mutex_);
  do {
    lock.unlock();
    listeners_.join();
    lock.lock();
    ended_.wait(lock, [&] { return handed_over_ || !draining_; });
  } while (!handed_over_ && !fuse_session_exited(session_));
  for (auto& request : apart_) request->cancel();  // nobody is there to grant what they wait for
  ended_.wait(lock, [&] { return apart_.empty(); });
  finished_ = true;
}

void Session::work() {
  name_this_thread("fuse");
  Listeners::Worker worker(listeners_);
  fuse_buf buf{};
  auto* slot = table_.take(fs::Record::kRequest);
  bool needed = true;
  const bool watches = std::thread::hardware_concurrency() > 1;  // with one CPU it would keep the others from asking
  while (needed && !draining_ && !fuse_session_exited(session_)) {
    auto asked = std::chrono::steady_clock::now();
    if (watches && worker.soon()) watch(device());
    int got = fuse_session_receive_buf(session_, &buf);
    if (got == -EINTR || got == -EAGAIN) continue;
    if (got <= 0) {
      fuse_session_exit(session_);
      break;
    }
    table_.header().requests.fetch_add(1, std::memory_order_relaxed);
    worker.received(is_quick(buf), std::chrono::steady_clock::now() - asked);
    serve(buf, *slot);
    needed = worker.served();
  }
  table_.give_back(slot);
  std::free(buf.mem);
  if (!needed) return;
  listeners_.stop();
  worker.left();
}

void Session::serve(fuse_buf& buf, fs::Record& slot) {
  auto header = header_of(buf);
  if ((header.unique & kResent) && refuse_resent_) return answer(device(), header.unique, EIO);
  auto& kept = table_.header();
  if (header.opcode == FUSE_INIT && buf.size <= fs::StateTable::kMaxInit) {
    std::memcpy(kept.init, buf.mem, buf.size);
    kept.init_size = static_cast<uint32_t>(buf.size);
  }
  begin(header.unique, slot);
  adapt(buf);
  Request::set_slot(&slot);
  greeting = header.opcode == FUSE_INIT;
  fuse_session_process_buf(session_, &buf);
  greeting = false;
  std::atomic_ref(slot.request.unique).store(0, std::memory_order_release);
  if (header.opcode == FUSE_INIT) {
    can_resend_ = can_resend(kept.init, kept.init_size);
    kept.initialised = 1;
  }
}

// Notes what is served, with what is known of an earlier try of it.
void Session::begin(uint64_t unique, fs::Record& slot) {
  meta::Attempt attempt{};
  if (unique & kResent) {
    std::lock_guard lock(mutex_);
    if (auto found = attempts_.find(unique & ~kResent); found != attempts_.end()) {
      attempt = found->second;
      attempts_.erase(found);
    }
    attempt.again = 1;
  }
  slot.request.attempt = attempt;
  std::atomic_ref(slot.request.unique).store(unique & ~kResent, std::memory_order_release);
}

bool Session::run_apart(std::shared_ptr<Request> request, std::function<void()> task) {
  fs::Record* slot = table_.take(fs::Record::kRequest);
  {
    std::lock_guard lock(mutex_);
    if (apart_.size() >= kMaxApart) {
      table_.give_back(slot);
      return false;
    }
    apart_.insert(request);
    slot->request = request->slot()->request;
  }
  std::thread([this, request = std::move(request), task = std::move(task), slot] {
    name_this_thread("lock-wait");
    task();
    table_.give_back(slot);
    std::lock_guard lock(mutex_);
    apart_.erase(request);
    if (apart_.empty()) ended_.notify_all();
  }).detach();
  return true;
}

bool Session::drain(int64_t timeout_ms) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  auto in_time = [&] { return std::chrono::steady_clock::now() < deadline; };
  draining_ = true;
  listeners_.stop();
  auto wakers = std::make_shared<std::atomic<size_t>>(0);
  while (!listeners_.join_for(kDrainPoll) && in_time())
    for (size_t i = *wakers; i < listeners_.listening(); i++) wake_listener(options_.mount_point, wakers);
  bool drained = listeners_.join_for({}) && !fuse_session_exited(session_);
  if (drained) {
    std::unique_lock lock(mutex_);
    locks_left_ = !apart_.empty();
    for (auto& request : apart_) request->abandon(can_resend_);
    while (!apart_.empty() && in_time()) ended_.wait_for(lock, kDrainPoll);
    drained = apart_.empty();
  }
  if (!drained) resume();
  return drained;
}

void Session::hand_over() {
  std::lock_guard lock(mutex_);
  handed_over_ = true;
  ended_.notify_all();
}

void Session::resume() {
  std::lock_guard lock(mutex_);
  draining_ = false;
  if (std::exchange(locks_left_, false) && can_resend_) ask_to_resend(device());
  if (!fuse_session_exited(session_)) listeners_.start();
  ended_.notify_all();
}

Result<void> Session::unmount() {
  auto& point = options_.mount_point;
  if (umount2(point.c_str(), MNT_DETACH) == 0) return {};
  int code = errno;
  if (code != EPERM) return fail(code, "umount " + point);
  for (auto* program : {"fusermount3", "fusermount"})
    if (run_program({program, "-u", "-z", "--", point}) == 0) return {};
  return fail(code, "umount " + point);
}

}  // namespace zest::fuse
