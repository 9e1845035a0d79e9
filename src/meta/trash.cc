#include "meta/trash.h"

#include "meta/state.h"
#include "volume/records.h"

namespace zest::meta {

namespace {

Attr trash_dir_attr(Ino parent, Time now) {
  Attr attr;
  attr.type = FileType::kDirectory;
  attr.mode = 0555;
  attr.nlink = 2;
  attr.length = 4096;
  attr.parent = parent;
  attr.atime = attr.mtime = attr.ctime = now;
  return attr;
}

// Finds or makes the directory of that hour. `made` says which.
Result<Ino> find_or_make(State& state, const std::string& hour, Time now, bool& made) {
  Ino ino{0};
  TxnOptions options;
  options.hot = {kTrashIno};
  options.settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto entry, txn.entry(kTrashIno, hour));
    return entry && entry->ino == ino;
  };
  ZEST_TRY(run(*state.engine, state.clock, options, [&](Txn& txn) -> Result<void> {
    made = false;
    ZEST_TRY(txn.want({{Key::entry(kTrashIno, hour)}, {Key::inode(kTrashIno)}, {Key::counter(counter::kNextTrash)}}));
    ZEST_ASSIGN(auto entry, txn.entry(kTrashIno, hour));
    if (entry) {
      ino = entry->ino;
      return {};
    }
    ZEST_ASSIGN(const int64_t last, txn.counter(counter::kNextTrash));
    ZEST_ASSIGN(auto trash, txn.attr(kTrashIno));
    if (!trash) txn.put_attr(kTrashIno, trash_dir_attr(kRootIno, now));
    ino = Ino{raw(kTrashIno) + static_cast<uint64_t>(last) + 1};
    txn.add(Key::counter(counter::kNextTrash), 1);
    txn.put(Key::entry(kTrashIno, hour), Entry{FileType::kDirectory, ino});
    txn.put_attr(ino, trash_dir_attr(kTrashIno, now));
    if (state.dir_stats) txn.put(Key::dir_stat(ino), DirStat{});
    Ledger::add_inline(state, txn, 4096, 1);
    state.change_log.add(txn, now, "CREATE",
                         {kTrashIno, hour, 0, 0, static_cast<int>(FileType::kDirectory), 0555, 0, "", "linux", false},
                         ino);
    made = true;
    return {};
  }));
  return ino;
}

}  // namespace

Result<Ino> Trash::hour_dir(State& state, Ino parent, bool skip) {
  if (skip || is_trash(parent) || state.trash_days <= 0) return Ino{0};
  const Time now = state.clock.now();
  const std::string hour = trash_hour_name(now.sec);
  {
    std::lock_guard lock(mutex_);
    if (hour_ == hour) return ino_;
  }
  bool made = false;
  ZEST_ASSIGN(const Ino ino, find_or_make(state, hour, now, made));
  if (made) state.ledger.volume(state, 4096, 1);
  std::lock_guard lock(mutex_);
  hour_ = hour;
  ino_ = ino;
  return ino;
}

}  // namespace zest::meta
