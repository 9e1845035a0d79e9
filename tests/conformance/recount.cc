#include "recount.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "volume/slice.h"

namespace zest::conformance {

namespace {

using namespace meta;

struct Volume {
  std::map<Ino, Attr> inodes;
  std::map<std::pair<Ino, std::string>, Entry> entries;
  std::map<Ino, DirStat> dir_stats;
  std::map<Ino, Quota> quotas;
  std::map<Ino, LinkCounts> parents;
  std::map<std::string, int64_t> counters;
  std::set<Ino> sustained, symlinks, with_xattrs, with_chunks, deleted;
  std::vector<std::string> differences;

  template <class... Args>
  void differ(fmt::format_string<Args...> text, Args&&... args) {
    differences.push_back(fmt::format(text, std::forward<Args>(args)...));
  }
};

template <class T, class Put>
void scan(Engine& engine, Volume& volume, Table table, Put put) {
  auto done = engine.scan(table, 0, [&](const Key& key, const Value& value) {
    if (const auto* typed = std::get_if<T>(&value)) put(key, *typed);
    return true;
  });
  if (!done) volume.differ("scan of table {}: {}", static_cast<int>(table), done.error().message());
}

Volume read_all(Engine& engine) {
  Volume v;
  scan<Attr>(engine, v, Table::kInodes, [&](const Key& key, const Attr& attr) { v.inodes[Ino{key.a}] = attr; });
  scan<Entry>(engine, v, Table::kEntries, [&](const Key& key, const Entry& entry) {
    v.entries[{Ino{key.a}, key.name}] = entry;
  });
  scan<DirStat>(engine, v, Table::kDirStats, [&](const Key& key, const DirStat& s) { v.dir_stats[Ino{key.a}] = s; });
  scan<Quota>(engine, v, Table::kDirQuotas, [&](const Key& key, const Quota& q) { v.quotas[Ino{key.a}] = q; });
  scan<LinkCounts>(engine, v, Table::kParentsTable,
                   [&](const Key& key, const LinkCounts& counts) { v.parents[Ino{key.a}] = counts; });
  scan<int64_t>(engine, v, Table::kCounters, [&](const Key& key, int64_t n) { v.counters[key.name] = n; });
  scan<bool>(engine, v, Table::kSustainedTable, [&](const Key& key, bool) { v.sustained.insert(Ino{key.b}); });
  scan<std::string>(engine, v, Table::kSymlinks, [&](const Key& k, const auto&) { v.symlinks.insert(Ino{k.a}); });
  scan<std::string>(engine, v, Table::kXattrTable, [&](const Key& k, const auto&) { v.with_xattrs.insert(Ino{k.a}); });
  scan<std::string>(engine, v, Table::kChunks, [&](const Key& k, const auto&) { v.with_chunks.insert(Ino{k.a}); });
  scan<int64_t>(engine, v, Table::kDelFiles, [&](const Key& key, int64_t) { v.deleted.insert(Ino{key.a}); });
  return v;
}

void check_links(Volume& v) {
  std::map<Ino, int64_t> names, subdirs;
  std::map<Ino, LinkCounts> parents;
  for (const auto& [where, entry] : v.entries) {
    const Ino dir = where.first;
    auto inode = v.inodes.find(entry.ino);
    if (inode == v.inodes.end()) {
      v.differ("entry {} of {} leads to inode {}, which is missing", where.second, raw(dir), raw(entry.ino));
      continue;
    }
    if (inode->second.type != entry.type) v.differ("entry {} of {} has another type", where.second, raw(dir));
    if (auto parent = v.inodes.find(dir); parent == v.inodes.end() || !parent->second.is_dir())
      v.differ("entry {} lies in {}, which is no directory", where.second, raw(dir));
    names[entry.ino]++;
    parents[entry.ino][dir]++;
    if (entry.type == FileType::kDirectory) subdirs[dir]++;
  }
  for (const auto& [ino, attr] : v.inodes) {
    if (ino == kRootIno || ino == kTrashIno) {
      if (ino == kRootIno && attr.nlink != 2 + subdirs[ino]) v.differ("the root has nlink {}", attr.nlink);
      continue;
    }
    // Link counts of what lies in the trash are those it had.
    const int64_t links = attr.is_dir() ? (is_trash(ino) ? int64_t{attr.nlink} : 2 + subdirs[ino]) : names[ino];
    if (attr.nlink != links) v.differ("inode {} has nlink {}, counted {}", raw(ino), attr.nlink, links);
    if (names[ino] == 0 && !v.sustained.contains(ino)) v.differ("inode {} has no name", raw(ino));
    if (names[ino] == 0) continue;
    if (attr.is_dir() && names[ino] != 1) v.differ("directory {} has {} names", raw(ino), names[ino]);
    if (raw(attr.parent) != 0) {
      if (parents[ino] != LinkCounts{{attr.parent, 1}})
        v.differ("inode {} is told to lie in {} only", raw(ino), raw(attr.parent));
      if (v.parents.contains(ino)) v.differ("inode {} has a parent and counted parents", raw(ino));
    } else if (v.parents[ino] != parents[ino]) {
      v.differ("the counted parents of inode {} are not where it has its names", raw(ino));
    }
  }
  for (const auto& [ino, counts] : v.parents)
    if (!counts.empty() && !v.inodes.contains(ino)) v.differ("parents of inode {}, which is missing", raw(ino));
}

void check_orphans(Volume& v) {
  auto absent = [&](const std::set<Ino>& owners, const char* what, bool deleted_may) {
    for (Ino ino : owners)
      if (!v.inodes.contains(ino) && !(deleted_may && v.deleted.contains(ino)))
        v.differ("{} of inode {}, which is missing", what, raw(ino));
  };
  absent(v.symlinks, "target", false);
  absent(v.with_xattrs, "extended attributes", false);
  absent(v.with_chunks, "chunks", true);
  absent(v.sustained, "a session's hold", false);
  for (const auto& [ino, stat] : v.dir_stats)
    if (!v.inodes.contains(ino)) v.differ("statistics of directory {}, which is missing", raw(ino));
  for (const auto& [ino, quota] : v.quotas)
    if (!v.inodes.contains(ino)) v.differ("quota of directory {}, which is missing", raw(ino));
}

void check_counters(Volume& v) {
  int64_t space = 0, inodes = 0;
  for (const auto& [ino, attr] : v.inodes) {
    if (ino == kRootIno || ino == kTrashIno) continue;
    space += attr.space();
    inodes++;
  }
  const int64_t used = v.counters[counter::kUsedSpace], total = v.counters[counter::kTotalInodes];
  if (used != space) v.differ("usedSpace is {}, counted {}", used, space);
  if (total != inodes) v.differ("totalInodes is {}, counted {}", total, inodes);
}

void check_sums(Volume& v) {
  std::map<Ino, DirStat> counted;
  std::map<Ino, Quota> used;
  for (const auto& [where, entry] : v.entries) {
    auto inode = v.inodes.find(entry.ino);
    if (inode == v.inodes.end()) continue;
    const Attr& attr = inode->second;
    counted[where.first] += DirStat{static_cast<int64_t>(attr.data_length()), attr.space(), 1};
    Ino dir = where.first;
    for (int depth = 0; raw(dir) != 0 && !is_trash(dir) && depth < 1000; depth++) {
      used[dir].used_space += attr.space();
      used[dir].used_inodes += 1;
      if (dir == kRootIno || !v.inodes.contains(dir)) break;
      dir = v.inodes[dir].parent;
    }
  }
  for (const auto& [ino, stat] : v.dir_stats) {
    const DirStat& is = counted[ino];
    if (stat != is)
      v.differ("directory {} has statistics {}/{}/{}, counted {}/{}/{}", raw(ino), stat.length, stat.space, stat.inodes,
               is.length, is.space, is.inodes);
  }
  for (const auto& [ino, quota] : v.quotas) {
    const Quota& is = used[ino];
    if (quota.used_space != is.used_space || quota.used_inodes != is.used_inodes)
      v.differ("the quota of {} has {}/{} used, counted {}/{}", raw(ino), quota.used_space, quota.used_inodes,
               is.used_space, is.used_inodes);
  }
}

// References of slices: one for each record of a chunk and for each entry of a list of delayed slices.
void check_slices(Engine& engine, Volume& v) {
  std::map<Key, int64_t> counted;
  scan<std::string>(engine, v, Table::kChunks, [&](const Key& key, const std::string& records) {
    auto slices = decode_slices(records);
    if (!slices) return v.differ("chunk {} of inode {} is broken", key.b, key.a);
    for (const auto& slice : *slices)
      if (raw(slice.id) != 0) counted[Key::slice_ref(slice.id, slice.size)]++;
  });
  scan<std::string>(engine, v, Table::kDelSlicesTable, [&](const Key& key, const std::string& records) {
    auto keys = decode_slice_keys(records);
    if (!keys) return v.differ("the delayed slices of {} are broken", key.a);
    for (const auto& slice : *keys) counted[Key::slice_ref(slice.id, slice.size)]++;
  });
  std::map<Key, int64_t> stored;
  scan<int64_t>(engine, v, Table::kSliceRefs, [&](const Key& key, int64_t refs) { stored[key] = refs; });
  for (const auto& [key, refs] : counted) {
    auto it = stored.find(key);
    const int64_t has = it == stored.end() ? engine.absent_ref() : it->second;
    if (has != refs) v.differ("slice {} of {} bytes has {} references, counted {}", key.a, key.b, has, refs);
  }
  for (const auto& [key, refs] : stored)
    if (refs > 0 && !counted.contains(key)) v.differ("slice {} has {} references, counted none", key.a, refs);
}

}  // namespace

std::vector<std::string> recount(Engine& engine) {
  Volume volume = read_all(engine);
  check_links(volume);
  check_orphans(volume);
  check_counters(volume);
  check_sums(volume);
  check_slices(engine, volume);
  return volume.differences;
}

}  // namespace zest::conformance
