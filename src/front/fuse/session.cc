#include "front/fuse/session.h"

#include <fmt/format.h>
#include <fuse3/fuse_lowlevel.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "base/threads.h"
#include "front/fuse/request.h"

namespace zest::fuse {
namespace {

constexpr size_t kMaxApart = 4096;
constexpr unsigned kMaxBackground = 128;
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

// libfuse 3.14 would answer ENOSYS to FUSE_TMPFILE. Its body and reply are those of FUSE_CREATE, and the flags tell.
void adapt(fuse_buf& buf) {
  auto header = header_of(buf);
  if (header.opcode != FUSE_TMPFILE) return;
  header.opcode = FUSE_CREATE;
  std::memcpy(buf.mem, &header, sizeof(header));
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

}  // namespace

Session::Session(fs::FileSystem& fs, Options options)
    : fs_(fs),
      options_(std::move(options)),
      listeners_(options_.max_threads, options_.idle_threads, [this] { std::thread([this] { work(); }).detach(); }) {}

Result<std::unique_ptr<Session>> Session::mount(fs::FileSystem& fs, const Options& options) {
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
  if (fuse_session_mount(session->session_, options.mount_point.c_str()) != 0) {
    fuse_session_destroy(std::exchange(session->session_, nullptr));
    return fail(EIO, fmt::format("cannot mount on {}", options.mount_point));
  }
  session->notifier_->start();
  fs.set_client_cache(session->notifier_.get());
  return session;
}

Session::~Session() {
  fs_.set_client_cache(nullptr);
  if (notifier_) notifier_->stop();
  if (!session_) return;
  fuse_session_unmount(session_);
  fuse_session_destroy(session_);
}

void Session::run() {
  listeners_.start();
  listeners_.join();
  std::unique_lock lock(mutex_);
  for (auto& request : apart_) request->cancel();  // nobody is there to grant what they wait for
  ended_.wait(lock, [&] { return apart_.empty(); });
  finished_ = true;
}

void Session::work() {
  name_this_thread("fuse");
  Listeners::Worker worker(listeners_);
  fuse_buf buf{};
  while (!fuse_session_exited(session_)) {
    auto asked = std::chrono::steady_clock::now();
    int got = fuse_session_receive_buf(session_, &buf);
    if (got == -EINTR || got == -EAGAIN) continue;
    if (got <= 0) break;
    adapt(buf);
    worker.received(is_quick(buf), std::chrono::steady_clock::now() - asked);
    fuse_session_process_buf(session_, &buf);
    if (worker.served()) continue;
    std::free(buf.mem);
    return;
  }
  fuse_session_exit(session_);
  listeners_.stop();
  std::free(buf.mem);
  worker.left();
}

bool Session::run_apart(std::shared_ptr<Request> request, std::function<void()> task) {
  {
    std::lock_guard lock(mutex_);
    if (apart_.size() >= kMaxApart) return false;
    apart_.insert(request);
  }
  std::thread([this, request = std::move(request), task = std::move(task)] {
    name_this_thread("lock-wait");
    task();
    std::lock_guard lock(mutex_);
    apart_.erase(request);
    if (apart_.empty()) ended_.notify_all();
  }).detach();
  return true;
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
