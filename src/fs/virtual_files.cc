#include "fs/virtual_files.h"

#include <fcntl.h>

#include <cstring>

#include "fs/control.h"
#include "fs/op.h"

namespace zest::fs {
namespace {

// A text as it was when the file was opened.
class Snapshot : public VirtualHandle {
 public:
  explicit Snapshot(std::string text) : text_(std::move(text)) {}
  Result<size_t> read(const Context&, uint64_t offset, std::span<char> into) override {
    if (offset >= text_.size()) return size_t{0};
    size_t n = std::min<size_t>(into.size(), text_.size() - offset);
    std::memcpy(into.data(), text_.data() + offset, n);
    return n;
  }

 private:
  const std::string text_;
};

class LogReader : public VirtualHandle {
 public:
  explicit LogReader(AccessLog& log) : log_(log), reader_(log.open()) {}
  ~LogReader() override { log_.close(reader_); }
  Result<size_t> read(const Context& context, uint64_t, std::span<char> into) override {
    return AccessLog::read(*reader_, context, into);
  }

 private:
  AccessLog& log_;
  std::shared_ptr<AccessLog::Reader> reader_;
};

}  // namespace

VirtualFiles::VirtualFiles(FileSystem& fs)
    : fs_(fs),
      prefix_(fs.options_.prefix_internal ? ".jfs" : ""),
      has_trash_(fs.meta_.options().subdir.empty() || fs.meta_.options().subdir == "/") {
  Time now = fs.clock_.now();
  auto file = [&](Ino ino, uint16_t mode) {
    EntryAttr entry;
    entry.ino = ino;
    entry.attr.mode = mode;
    entry.attr.uid = fs.options_.owner_uid;
    entry.attr.gid = fs.options_.owner_gid;
    entry.attr.atime = entry.attr.mtime = entry.attr.ctime = now;
    entry.attr.parent = kRootIno;
    return entry;
  };
  log_ = file(kLogIno, 0400);
  control_ = file(kControlIno, 0666);
  stats_ = file(kStatsIno, 0444);
  config_ = file(kConfigIno, 0400);
  trash_ = file(kTrashIno, 0555);
  trash_.attr.type = FileType::kDirectory;
  trash_.attr.nlink = 2;
  trash_.attr.uid = trash_.attr.gid = 0;
  listed_ = {{prefix_ + ".accesslog", &log_}, {prefix_ + ".stats", &stats_}, {prefix_ + ".config", &config_}};
  if (has_trash_) listed_.emplace_back(prefix_ + ".trash", &trash_);
}

const EntryAttr* VirtualFiles::by_name(Ino parent, std::string_view name) const {
  if (name.size() < 6 || name[0] != '.' || !name.starts_with(prefix_)) return nullptr;
  auto plain = name.substr(prefix_.size());
  if (plain == ".control") return &control_;
  if (parent != kRootIno) return nullptr;
  for (auto& [listed, entry] : listed_)
    if (listed == name) return entry;
  return nullptr;
}

const EntryAttr* VirtualFiles::by_ino(Ino ino) const {
  if (ino == kLogIno) return &log_;
  if (ino == kControlIno) return &control_;
  if (ino == kStatsIno) return &stats_;
  if (ino == kConfigIno) return &config_;
  if (ino == kTrashIno) return &trash_;
  return nullptr;
}

bool VirtualFiles::reserved(Ino parent, std::string_view name) const {
  return parent == kRootIno && by_name(parent, name) != nullptr;
}

Result<std::unique_ptr<VirtualHandle>> VirtualFiles::open(const Context&, Ino ino, uint32_t flags) {
  if (ino == kControlIno) return std::make_unique<ControlHandle>(fs_);
  if ((flags & O_ACCMODE) != O_RDONLY) return fail(EACCES);
  if (ino == kLogIno) return std::make_unique<LogReader>(*fs_.log_);
  if (ino == kStatsIno) return std::make_unique<Snapshot>(fs_.stats_text());
  if (ino == kConfigIno) return std::make_unique<Snapshot>(fs_.config_text());
  return fail(EACCES);
}

}  // namespace zest::fs
