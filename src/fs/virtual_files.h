// The virtual files of a mount: .accesslog, .control, .stats, .config, and the name .trash (docs/behaviour/control.md).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fs/filesystem.h"
#include "fs/handles.h"

namespace zest::fs {

constexpr Ino kLogIno{raw(kFirstSpecialIno) + 1}, kControlIno{raw(kFirstSpecialIno) + 2},
    kStatsIno{raw(kFirstSpecialIno) + 3}, kConfigIno{raw(kFirstSpecialIno) + 4};

class VirtualFiles {
 public:
  explicit VirtualFiles(FileSystem& fs);

  // The virtual node of a name, null when it names none. .control is found in every directory.
  const EntryAttr* by_name(Ino parent, std::string_view name) const;
  // Null for inodes that are no virtual node, such as the hours of the trash.
  const EntryAttr* by_ino(Ino ino) const;
  // Is the name in the root taken by a virtual node?
  bool reserved(Ino parent, std::string_view name) const;
  // In order: what a listing of the root begins with.
  const std::vector<std::pair<std::string, const EntryAttr*>>& listed() const { return listed_; }

  void set_config_size(uint64_t bytes) { config_.attr.length = bytes; }

  // EACCES for writing, except to .control.
  Result<std::unique_ptr<VirtualHandle>> open(const Context&, Ino ino, uint32_t flags);

 private:
  FileSystem& fs_;
  EntryAttr log_, control_, stats_, config_, trash_;
  std::string prefix_;
  const bool has_trash_;
  std::vector<std::pair<std::string, const EntryAttr*>> listed_;
};

}  // namespace zest::fs
