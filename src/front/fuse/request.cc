#include "front/fuse/request.h"

#include <sys/stat.h>

#include "base/threads.h"
#include "fs/control.h"

namespace zest::fuse {
namespace {

constexpr auto kPatience = std::chrono::seconds(1);
constexpr auto kGroupsAge = std::chrono::minutes(5);
constexpr size_t kGroupsLimit = 10'000;
constexpr double kVirtualTimeout = 3600;  // virtual nodes never change

bool is_virtual(Ino ino) { return is_special(ino) && raw(ino) <= raw(kTrashIno); }

}  // namespace

namespace {
thread_local fs::Record* current_slot = nullptr;
}

void Request::set_slot(fs::Record* slot) { current_slot = slot; }

double seconds(int64_t ms) { return static_cast<double>(ms) / 1000; }

// --- interrupts ---

Interrupts::Interrupts() : thread_([this] { run(); }) {}

Interrupts::~Interrupts() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Interrupts::later(Request& request) {
  std::lock_guard lock(mutex_);
  if (request.queued_) return;
  request.queued_ = true;
  waiting_.push_back(&request);
  changed_.notify_all();
}

void Interrupts::forget(Request& request) {
  std::lock_guard lock(mutex_);
  if (!request.queued_) return;
  request.queued_ = false;
  waiting_.remove(&request);
}

void Interrupts::run() {
  name_this_thread("interrupts");
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (waiting_.empty()) {
      changed_.wait(lock);
      continue;
    }
    auto now = std::chrono::steady_clock::now(), next = now + kPatience;
    for (auto* request : waiting_) {
      auto due = request->begin() + kPatience;
      if (due <= now)
        request->cancel();
      else
        next = std::min(next, due);
    }
    changed_.wait_until(lock, next);
  }
}

// --- requests ---

Request::Request(fuse_req_t req, Cancel cancel)
    : req_(req), session_(*static_cast<Session*>(fuse_req_userdata(req))), cancel_(cancel), slot_(current_slot) {
  auto* from = fuse_req_ctx(req);
  auto& options = session_.options();
  context_.uid = from->uid;
  context_.gid = from->gid;
  context_.pid = static_cast<uint32_t>(from->pid);
  context_.attempt = &slot_->request.attempt;
  context_.keeps_inodes = true;
  context_.keeps_xattrs = options.serves_xattrs();
  umask_ = options.umask == 0xFFFF ? static_cast<uint16_t>(from->umask & 0777) : options.umask;
  if (options.all_squash || (options.root_squash && from->uid == 0)) {
    auto& as = options.all_squash ? *options.all_squash : *options.root_squash;
    context_.uid = as.uid;
    context_.gid = as.gid;
    context_.check_permission = true;
    context_.gids = {as.gid};
  } else if (!options.default_permissions || session_.checks_acls()) {
    context_.check_permission = true;
    if (from->uid != 0) context_.gids = groups_of(context_.pid, context_.gid);
  }
  if (cancel_ != Cancel::kNever) {
    context_.cancelled = &cancelled_;
    begin_ = std::chrono::steady_clock::now();
    fuse_req_interrupt_func(req_, &Request::on_interrupt, this);
  }
}

Request::~Request() {
  if (req_) error(EIO);  // a reply was forgotten: the kernel must not wait for ever
}

void Request::on_interrupt(fuse_req_t, void* self) {
  auto& request = *static_cast<Request*>(self);
  if (request.cancel_ == Cancel::kAtOnce || std::chrono::steady_clock::now() - request.begin_ >= kPatience)
    request.cancel();
  else
    request.session_.interrupts().later(request);
}

// After this no interrupt can reach the object any more.
fuse_req_t Request::finish() {
  auto req = std::exchange(req_, nullptr);
  if (cancel_ != Cancel::kNever) {
    fuse_req_interrupt_func(req, nullptr, nullptr);
    session_.interrupts().forget(*this);
  }
  return req;
}

void Request::error(int code) {
  if (abandoned_ && code == EINTR) return none();
  fuse_reply_err(finish(), code);
}
void Request::none() { fuse_reply_none(finish()); }

void Request::entry(const meta::EntryAttr& entry) {
  session_.told().remember(entry.ino, entry.attr);
  fuse_entry_param param{};
  to_entry_param(session_.options(), entry, param);
  fuse_reply_entry(finish(), &param);
}

void Request::no_entry() {
  if (session_.options().negative_timeout_ms <= 0) return error(ENOENT);
  fuse_entry_param param{};
  param.entry_timeout = seconds(session_.options().negative_timeout_ms);
  fuse_reply_entry(finish(), &param);
}

void Request::attr(Ino ino, const Attr& attr) {
  session_.told().remember(ino, attr);
  auto st = to_stat(ino, attr);
  fuse_reply_attr(finish(), &st, is_virtual(ino) ? kVirtualTimeout : seconds(session_.options().attr_timeout_ms));
}

void Request::created(const meta::EntryAttr& entry, fuse_file_info* fi) {
  session_.told().remember(entry.ino, entry.attr);
  fuse_entry_param param{};
  to_entry_param(session_.options(), entry, param);
  fuse_reply_create(finish(), &param, fi);
}

void Request::opened(fuse_file_info* fi) { fuse_reply_open(finish(), fi); }
void Request::bytes(const char* data, size_t size) { fuse_reply_buf(finish(), data, size); }
void Request::written(size_t size) { fuse_reply_write(finish(), size); }
void Request::position(uint64_t offset) { fuse_reply_lseek(finish(), static_cast<off_t>(offset)); }
void Request::link_target(const std::string& target) { fuse_reply_readlink(finish(), target.c_str()); }
void Request::xattr_size(size_t size) { fuse_reply_xattr(finish(), size); }
void Request::statfs(const struct statvfs& st) { fuse_reply_statfs(finish(), &st); }
void Request::lock(const struct flock& lock) { fuse_reply_lock(finish(), &lock); }
void Request::ioctl(const void* data, size_t size) { fuse_reply_ioctl(finish(), 0, data, size); }

// --- what the kernel is told ---

uint64_t Told::hash(Ino ino, const Attr& attr) {
  uint64_t h = zest::raw(ino) + 1;
  auto mix = [&](uint64_t v) {
    h ^= v + 0x9E3779B97F4A7C15 + (h << 6) + (h >> 2);
    h *= 0xFF51AFD7ED558CCD;
    h ^= h >> 32;
  };
  mix(static_cast<uint64_t>(attr.mtime.sec)), mix(attr.mtime.nsec);
  mix(static_cast<uint64_t>(attr.ctime.sec)), mix(attr.ctime.nsec);
  mix(attr.length);
  return h;
}

struct stat to_stat(Ino ino, const Attr& attr) {
  struct stat st {};
  st.st_ino = raw(ino);
  st.st_mode = to_st_mode(attr.type, attr.mode);
  st.st_nlink = attr.nlink;
  st.st_uid = attr.uid;
  st.st_gid = attr.gid;
  st.st_rdev = attr.type == FileType::kBlock || attr.type == FileType::kChar ? attr.rdev : 0;
  if (attr.type == FileType::kFile || attr.type == FileType::kDirectory || attr.type == FileType::kSymlink)
    st.st_size = static_cast<off_t>(attr.length);
  st.st_blocks = (st.st_size + 511) / 512;
  st.st_blksize = 65536;
  st.st_atim = {attr.atime.sec, attr.atime.nsec};
  st.st_mtim = {attr.mtime.sec, attr.mtime.nsec};
  st.st_ctim = {attr.ctime.sec, attr.ctime.nsec};
  return st;
}

void to_entry_param(const Options& options, const meta::EntryAttr& entry, fuse_entry_param& out) {
  out.ino = raw(entry.ino);
  out.generation = 1;
  out.attr = to_stat(entry.ino, entry.attr);
  out.attr_timeout = is_virtual(entry.ino) ? kVirtualTimeout : seconds(options.attr_timeout_ms);
  out.entry_timeout = seconds(entry.attr.is_dir() ? options.dir_entry_timeout_ms : options.entry_timeout_ms);
}

std::vector<uint32_t> groups_of(uint32_t pid, uint32_t gid) {
  if (pid == 0 || gid == 0) return {gid};
  struct Known {
    std::chrono::steady_clock::time_point at;
    std::vector<uint32_t> groups;
  };
  static std::mutex mutex;
  static std::unordered_map<uint32_t, Known> known;
  auto now = std::chrono::steady_clock::now();
  {
    std::lock_guard lock(mutex);
    auto found = known.find(pid);
    if (found != known.end() && now - found->second.at < kGroupsAge) return found->second.groups;
  }
  auto groups = fs::groups_of_process(pid);
  groups.push_back(gid);
  std::lock_guard lock(mutex);
  if (known.size() >= kGroupsLimit) known.clear();
  known[pid] = {now, groups};
  return groups;
}

// --- notifications ---

Notifier::~Notifier() { stop(); }

void Notifier::start() {
  thread_ = std::thread([this] { run(); });
}

void Notifier::stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  arrived_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Notifier::push(std::variant<Inode, Name> what) {
  std::lock_guard lock(mutex_);
  if (stop_ || queue_.size() >= kLimit) return;  // timeouts will do it
  queue_.push_back(std::move(what));
  arrived_.notify_one();
}

void Notifier::forget_inode(Ino ino, int64_t offset, int64_t size) { push(Inode{ino, offset, size}); }
void Notifier::forget_entry(Ino parent, const std::string& name) { push(Name{parent, name}); }

void Notifier::run() {
  name_this_thread("notify");
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (queue_.empty()) {
      arrived_.wait(lock);
      continue;
    }
    auto what = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    if (auto* inode = std::get_if<Inode>(&what)) {
      fuse_lowlevel_notify_inval_inode(session_.raw(), raw(inode->ino), inode->offset, inode->size);
    } else {
      auto& name = std::get<Name>(what);
      fuse_lowlevel_notify_inval_entry(session_.raw(), raw(name.parent), name.name.c_str(), name.name.size());
    }
    lock.lock();
  }
}

}  // namespace zest::fuse
