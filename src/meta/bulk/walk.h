// Walks a tree of directories with several threads in bounded memory: what is held are directories still to be listed,
// never a whole listing. Depth first, a page at a time; with one thread a directory's page is done before the next one
// is listed. Nothing here knows what is done with the entries.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "meta/bulk/clean.h"
#include "meta/bulk/distinct.h"
#include "meta/txn.h"

namespace zest::meta {

struct WalkDir {
  WalkDir(std::shared_ptr<WalkDir> parent_in, Ino ino_in, std::string name_in)
      : parent(std::move(parent_in)), ino(ino_in), name(std::move(name_in)), depth(parent ? parent->depth + 1 : 0) {}
  ~WalkDir();
  // "a/b" below the top, whose own path is "".
  std::string path() const;

  std::shared_ptr<WalkDir> parent;  // none: the top
  const Ino ino;
  const std::string name;
  const int depth;
  bool with_attr = false;      // list attributes; may be set by enter()
  std::shared_ptr<void> data;  // the visitor's

 private:
  friend class Walk;
  std::atomic<int> open_{1};  // pages being done, listings to go on with, sub-directories
  bool entered_ = false;
  std::string cursor_;
  std::unique_ptr<Distinct> distinct_;
};
using WalkDirPtr = std::shared_ptr<WalkDir>;

// Called by several threads at once, also for pages of one directory. An error ends the walk.
class Visitor {
 public:
  virtual ~Visitor() = default;
  // Before a directory is listed; false: it need not be (leave() follows).
  virtual Result<bool> enter(WalkDir&) { return true; }
  // Some entries, each name once. Sub-directories to be walked are added to `descend`.
  virtual Result<void> page(const WalkDirPtr& dir, std::vector<DirEntry>& entries,
                            std::vector<WalkDirPtr>& descend) = 0;
  // The directory and everything below it is done. True: walk it once more, from the start.
  virtual Result<bool> leave(const WalkDirPtr&) { return false; }
};

struct WalkOptions {
  int threads = 1;
  bool writes = false;  // the visitor writes: more than two threads only get in each other's way with a single writer
  size_t page = 1000;
  const std::atomic<bool>* cancelled = nullptr;  // EINTR
  const Limits* limits = nullptr;                // ETIMEDOUT when over
};
Result<void> walk(Engine& engine, const WalkOptions& options, WalkDirPtr top, Visitor& visitor);

}  // namespace zest::meta
