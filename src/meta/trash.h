// The trash's hour directories (semantics.md section 11).
#pragma once

#include <mutex>
#include <string>

#include "meta/api.h"

namespace zest::meta {

struct State;

class Trash {
 public:
  // The hour directory that what is removed from `parent` now goes to, made when missing; 0: no trash (TrashDays 0,
  // parent in trash, skip). [0; 2 once an hour]
  Result<Ino> hour_dir(State&, Ino parent, bool skip);

 private:
  std::mutex mutex_;
  std::string hour_;
  Ino ino_{0};
};

}  // namespace zest::meta
