#include "fs/control.h"

#include <fmt/format.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "base/bytes.h"
#include "base/log.h"
#include "base/threads.h"
#include "fs/virtual_files.h"

namespace zest::fs {
namespace {

constexpr uint32_t kRmr = 1002, kInfoText = 1003, kCache = 1004, kInfo = 1005, kClone = 1006, kSummary = 1007,
                   kCompact = 1008;
constexpr auto kProgressEvery = std::chrono::milliseconds(300);
constexpr size_t kLogLimit = 2 << 20, kLogDrop = 1 << 20;
constexpr size_t kMaxBody = 16 << 20;

std::string code_reply(int code) { return std::string(1, static_cast<char>(code)); }

std::string json_reply(const std::string& json) {
  std::string out;
  put_u8(out, 0xFF);
  put_be32(out, static_cast<uint32_t>(json.size()));
  return out + json;
}

// Fields that older clients leave out have a default.
uint8_t byte_or(ByteReader& in, uint8_t otherwise) { return in.left() > 0 ? in.u8() : otherwise; }

std::string remove_reply(FileSystem& fs, const Context& context, ByteReader in, JobProgress& progress) {
  Ino parent{in.be64()};
  auto name = in.bytes(in.u8());
  bool skip_trash = byte_or(in, 0) & 1;
  int threads = byte_or(in, 50);
  if (!in.ok() || name.empty()) return code_reply(EINVAL);
  if (skip_trash && context.uid != 0) return code_reply(EPERM);
  auto result = fs.meta().remove_tree(context, parent, name, skip_trash, std::max(threads, 1), &progress.a);
  if (result && fs.client_cache()) fs.client_cache()->forget_entry(parent, std::string(name));
  return code_reply(code_of(result));
}

std::string clone_reply(FileSystem& fs, const Context& context, ByteReader in, JobProgress& progress) {
  Ino src{in.be64()};
  in.be64();  // its parent
  Ino dst_parent{in.be64()};
  auto name = in.bytes(in.u8());
  uint16_t umask = in.be16();
  uint8_t mode = in.u8();
  int threads = byte_or(in, 4);
  if (!in.ok()) return code_reply(EINVAL);
  auto result = fs.meta().clone(context, src, dst_parent, name, (mode & 2) != 0, umask, std::max(threads, 1),
                                &progress.a, &progress.b);
  if (result && fs.client_cache()) fs.client_cache()->forget_entry(dst_parent, std::string(name));
  return code_reply(code_of(result));
}

std::string cache_reply(FileSystem& fs, const Context& context, ByteReader in, JobProgress& progress) {
  auto paths = in.bytes(in.be32());
  int threads = in.be16();
  bool background = in.u8() != 0;
  uint8_t action = byte_or(in, 0);
  if (!in.ok() || action > 2) return code_reply(EINVAL);
  auto what = static_cast<data::Data::CacheAction>(action);
  if (!background) return json_reply(cache_json(fs, context, paths, threads, what, progress));
  auto started = fs.run_in_background([&fs, caller = Context(context), threads, what,
                                       text = std::string(paths)](const std::atomic<bool>& stop) mutable {
    caller.cancelled = &stop;
    JobProgress unseen;
    (void)cache_json(fs, caller, text, threads, what, unseen);
  });
  if (!started) return code_reply(code_of(started));
  return json_reply(empty_cache_json());
}

}  // namespace

std::vector<uint32_t> groups_of_process(uint32_t pid) {
  std::vector<uint32_t> groups;
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("Groups:")) continue;
    std::istringstream numbers(line.substr(7));
    for (uint32_t group; numbers >> group;) groups.push_back(group);
    break;
  }
  return groups;
}

Context with_groups(const Context& context) {
  Context all = context;
  if (all.uid != 0 && !all.check_permission) all.gids = groups_of_process(all.pid);
  return all;
}

std::string run_control(FileSystem& fs, const Context& context, uint32_t op, std::string_view body,
                        JobProgress& progress) {
  ByteReader in(body);
  switch (op) {
    case kRmr: return remove_reply(fs, context, in, progress);
    case kClone: return clone_reply(fs, context, in, progress);
    case kCache: return cache_reply(fs, context, in, progress);
    case kInfo: {
      Ino ino{in.be64()};
      bool recursive = byte_or(in, 1), raw_chunks = byte_or(in, 0), strict = byte_or(in, 0);
      if (!in.ok()) return code_reply(EINVAL);
      return json_reply(info_json(fs, context, ino, recursive, raw_chunks, strict, progress));
    }
    case kInfoText: {
      Ino ino{in.be64()};
      bool recursive = byte_or(in, 1);
      if (!in.ok()) return code_reply(EINVAL);
      auto text = info_text(fs, context, ino, recursive, progress);
      progress.a = progress.b = 0;  // this reply has no progress records
      std::string out;
      put_be32(out, static_cast<uint32_t>(text.size()));
      return out + text;
    }
    case kSummary: {
      Ino ino{in.be64()};
      int depth = byte_or(in, 3), top = byte_or(in, 10);
      bool strict = byte_or(in, 0);
      if (!in.ok()) return code_reply(EINVAL);
      return json_reply(summary_json(fs, context, ino, depth, top, strict, progress));
    }
    case kCompact: {
      Ino ino{in.be64()};
      int threads = in.be16();
      if (!in.ok()) return code_reply(EINVAL);
      return code_reply(code_of(compact_tree(fs, context, ino, std::max(threads, 1), progress)));
    }
    default: return code_reply(EINVAL);
  }
}

ControlHandle::~ControlHandle() {
  cancelled_ = true;
  if (job_.joinable()) job_.join();
}

void ControlHandle::flush() {
  std::lock_guard lock(mutex_);
  if (running_) cancelled_ = true;
}

void ControlHandle::append(std::string_view bytes) { log_ += bytes; }

void ControlHandle::append_progress() {
  std::string record;
  put_u8(record, 0xFE);
  put_be64(record, progress_->a.load());
  put_be64(record, progress_->b.load());
  append(record);
}

Result<size_t> ControlHandle::read(const Context&, uint64_t offset, std::span<char> into) {
  std::lock_guard lock(mutex_);
  if (offset < base_) return fail(EIO);
  auto now = std::chrono::steady_clock::now();
  if (running_ && offset >= base_ + log_.size() && now - told_ >= kProgressEvery) {
    append_progress();
    told_ = now;
  }
  if (offset >= base_ + log_.size()) return size_t{0};
  size_t from = offset - base_, n = std::min(into.size(), log_.size() - from);
  std::memcpy(into.data(), log_.data() + from, n);
  if (log_.size() > kLogLimit && from > kLogDrop) {
    log_.erase(0, kLogDrop);
    base_ += kLogDrop;
  }
  return n;
}

Result<size_t> ControlHandle::write(const Context& context, uint64_t, std::span<const char> bytes) {
  std::lock_guard lock(mutex_);
  if (running_) return fail(EBUSY);
  if (request_.size() + bytes.size() > kMaxBody + 8) return fail(EFBIG);
  append({bytes.data(), bytes.size()});
  request_.append(bytes.data(), bytes.size());
  if (request_.size() < 8) return bytes.size();
  ByteReader in(request_);
  in.be32();
  uint64_t length = in.be32();
  if (in.left() < length) return bytes.size();
  if (in.left() > length) {
    append(code_reply(EIO));
    request_.clear();
    return bytes.size();
  }
  start(context);
  return bytes.size();
}

void ControlHandle::start(const Context& caller) {
  if (job_.joinable()) job_.join();  // it has ended: running_ is false
  Context context = caller;
  context.check_permission = true;
  context.keeps_inodes = context.keeps_xattrs = false;
  context.attempt = nullptr;  // that of the caller's request, which ends before the job does
  if (context.gids.empty()) context.gids = groups_of_process(caller.pid);
  context.gids.push_back(caller.gid);
  context.cancelled = &cancelled_;
  cancelled_ = false;
  running_ = true;
  progress_ = std::make_shared<JobProgress>();
  told_ = std::chrono::steady_clock::now();
  job_ = std::thread([this, context, request = std::move(request_)] {
    name_this_thread("control");
    ByteReader in(request);
    uint32_t op = in.be32();
    in.be32();
    auto reply = run_control(fs_, context, op, in.bytes(in.left()), *progress_);
    std::lock_guard lock(mutex_);
    if (progress_->a > 0 || progress_->b > 0) append_progress();
    append(reply);
    running_ = false;
  });
  request_.clear();
}

}  // namespace zest::fs
