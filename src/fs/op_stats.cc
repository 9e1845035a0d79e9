#include "fs/op_stats.h"

#include <algorithm>

namespace zest::fs {
namespace {

constexpr const char* kNames[kMethods] = {
    "lookup",    "getattr",         "setattr",  "mknod",    "mkdir",     "create",      "symlink",
    "link",      "unlink",          "rmdir",    "rename",   "readlink",  "open",        "opendir",
    "readdir",   "releasedir",      "read",     "write",    "release",   "flush",       "fsync",
    "fallocate", "copy_file_range", "setxattr", "getxattr", "listxattr", "removexattr", "statfs",
    "getlk",     "setlk",           "flock",    "ioctl",    "access",    "tmpfile",     "lseek",
};

}  // namespace

const char* name_of(Method method) { return kNames[static_cast<size_t>(method)]; }

void OpStats::count(Method method, int code, int64_t ns, const Spent& spent) {
  auto& mine = counts_.mine();
  auto& of = mine.methods[static_cast<size_t>(method)];
  add(of.count, 1);
  add(of.ns, static_cast<uint64_t>(ns));
  if (spent.round_trips > 0) add(of.round_trips, spent.round_trips);
  for (size_t i = 0; i < kParts; i++)
    if (spent.ns[i] != 0) add(of.part_ns[i], spent.ns[i]);
  mine.durations.add(static_cast<double>(ns) / 1e9);
  if (code > 0) add(mine.errors[std::min(static_cast<size_t>(code), kErrnos - 1)], 1);
}

void OpStats::sum(Counts& into) const {
  counts_.each([&](const Counts& from) {
    for (size_t i = 0; i < kMethods; i++) {
      auto& to = into.methods[i];
      auto& of = from.methods[i];
      add(to.count, of.count.load(std::memory_order_relaxed));
      add(to.ns, of.ns.load(std::memory_order_relaxed));
      add(to.round_trips, of.round_trips.load(std::memory_order_relaxed));
      for (size_t part = 0; part < kParts; part++)
        add(to.part_ns[part], of.part_ns[part].load(std::memory_order_relaxed));
    }
    into.durations.add_all(from.durations);
    into.read_sizes.add_all(from.read_sizes);
    into.written_sizes.add_all(from.written_sizes);
    for (size_t i = 0; i < kErrnos; i++) add(into.errors[i], from.errors[i].load(std::memory_order_relaxed));
    add(into.slow, from.slow.load(std::memory_order_relaxed));
  });
}

}  // namespace zest::fs
