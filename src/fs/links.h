// Link counts as people expect them. In the database a file's count includes its names in the trash, so with the trash
// on, removing one of two names leaves the count at two; POSIX wants one. A file that nobody changed since this mount
// began shows the count of the database, as the reference does.
#pragma once

#include <mutex>
#include <unordered_map>

#include "meta/api.h"

namespace zest::fs {

class Links {
 public:
  explicit Links(meta::Meta& meta) : meta_(meta), since_(system_clock().now()) {}

  // Replaces attr.nlink by the number of names outside the trash. A file with none keeps its count, so that it can be
  // looked at and linked out of the trash, unless `removed`: it lost its name while somebody had it open. [1 for a file
  // with several names whose ctime is new, else 0]
  void correct(Ino ino, Attr& attr, bool removed);
  // Would correct() have to ask the database?
  bool unknown(Ino ino, const Attr& attr) const;

 private:
  struct Known {
    Time ctime;
    uint32_t nlink = 0, visible = 0;
  };
  static constexpr size_t kLimit = 10'000;
  bool several(const Attr& attr) const;
  meta::Meta& meta_;
  const Time since_;
  mutable std::mutex mutex_;
  std::unordered_map<Ino, Known> known_;
};

}  // namespace zest::fs
