// Type codes of the format and the mode bits of stat(2).
#include "volume/types.h"

#include <sys/stat.h>

namespace zest {

uint32_t to_st_mode(FileType type, uint16_t mode) {
  uint32_t kind = 0;
  switch (type) {
    case FileType::kFile: kind = S_IFREG; break;
    case FileType::kDirectory: kind = S_IFDIR; break;
    case FileType::kSymlink: kind = S_IFLNK; break;
    case FileType::kFifo: kind = S_IFIFO; break;
    case FileType::kBlock: kind = S_IFBLK; break;
    case FileType::kChar: kind = S_IFCHR; break;
    case FileType::kSocket: kind = S_IFSOCK; break;
  }
  return kind | (mode & 07777u);
}

FileType from_st_mode(uint32_t st_mode) {
  switch (st_mode & S_IFMT) {
    case S_IFDIR: return FileType::kDirectory;
    case S_IFLNK: return FileType::kSymlink;
    case S_IFIFO: return FileType::kFifo;
    case S_IFBLK: return FileType::kBlock;
    case S_IFCHR: return FileType::kChar;
    case S_IFSOCK: return FileType::kSocket;
    default: return FileType::kFile;
  }
}

}  // namespace zest
