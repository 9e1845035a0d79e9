// Emptying directories (semantics.md 10.5), for rmr, trash expiry and detached clones.
#pragma once

#include "meta/bulk/walk.h"

namespace zest::meta {

struct RemoveOptions {
  bool skip_trash = false;
  int threads = 10;
  std::atomic<uint64_t>* removed = nullptr;  // counts every attempt
  const Limits* limits = nullptr;
  // An entry that cannot be removed is logged and skipped instead of ending the work.
  bool lenient = false;
};

// Removes everything below `dir`, not the directory itself. One pass: what comes in meanwhile stays.
Result<void> empty_directory(Meta&, const Context&, Ino dir, const RemoveOptions&);

// Is the directory one of the trash, or below one?
Result<bool> below_trash(State&, Ino dir);

}  // namespace zest::meta
