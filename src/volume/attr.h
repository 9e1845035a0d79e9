// The attributes of an inode and their binary record (docs/format/encodings.md section 3).
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "volume/types.h"

namespace zest {

constexpr uint8_t kFlagImmutable = 0x01, kFlagAppend = 0x02, kFlagHidden = 0x04, kFlagSystem = 0x08,
                  kFlagArchive = 0x10, kFlagSkipTrash = 0x20;

struct Attr {
  uint8_t flags = 0;
  FileType type = FileType::kFile;
  uint16_t mode = 0;  // 07777 at most
  uint32_t uid = 0, gid = 0;
  Time atime, mtime, ctime;
  uint32_t nlink = 1;
  uint64_t length = 0;  // directory 4096, symlink: bytes of its target
  uint32_t rdev = 0;
  Ino parent{0};  // 0: a file that has, or had, several hard links
  uint32_t access_acl = 0, default_acl = 0;
  uint8_t tier = 0;

  bool is_dir() const { return type == FileType::kDirectory; }
  bool is_file() const { return type == FileType::kFile; }
  // lies directly in an hour directory of the trash
  bool in_trash() const { return raw(parent) > raw(kTrashIno); }
  // what the inode is charged for in usedSpace, quotas and directory statistics
  int64_t space() const { return is_file() ? charged_space(length) : 4096; }
  uint64_t data_length() const { return is_file() ? length : 0; }
  friend bool operator==(const Attr&, const Attr&) = default;
};

std::string encode_attr(const Attr& attr);          // 72, 73, 80 or 81 bytes
Result<Attr> decode_attr(std::string_view record);  // 63 bytes or more; EIO when shorter

// A directory entry: 9 bytes, type and inode (section 4).
struct Entry {
  FileType type = FileType::kFile;
  Ino ino{0};
  friend bool operator==(const Entry&, const Entry&) = default;
};
std::string encode_entry(const Entry& entry);
Result<Entry> decode_entry(std::string_view record);  // EIO unless 9 bytes

}  // namespace zest
