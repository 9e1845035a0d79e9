// What the operations share inside one client. Private to meta/.
//
// Locks: each component has its own, a leaf: never held over a call to the engine.
#pragma once

#include <memory>
#include <mutex>
#include <random>
#include <shared_mutex>

#include "meta/access.h"
#include "meta/acl_cache.h"
#include "meta/api.h"
#include "meta/busy_dirs.h"
#include "meta/changelog.h"
#include "meta/compactor.h"
#include "meta/deleter.h"
#include "meta/doubtful.h"
#include "meta/held_locks.h"
#include "meta/ids.h"
#include "meta/jobs.h"
#include "meta/ledger.h"
#include "meta/link_targets.h"
#include "meta/lock_bell.h"
#include "meta/lock_waits.h"
#include "meta/open_files.h"
#include "meta/own_dirs.h"
#include "meta/removed.h"
#include "meta/trash.h"
#include "meta/txn.h"

namespace zest::meta {

struct State {
  State(std::unique_ptr<Engine> engine, const Clock& clock, Options options);
  ~State();

  std::unique_ptr<Engine> engine;
  const Clock& clock;
  const Options options;

  Format format() const;  // a copy of the current settings
  void set_format(Format format);
  // The few members that every operation looks at, without copying the rest.
  std::atomic<int> trash_days{0};
  std::atomic<bool> dir_stats{false}, enable_acl{false}, user_group_quota{false};
  std::atomic<uint64_t> capacity{0}, inode_limit{0};

  Ino root{kRootIno};  // what inode 1 of this client is
  // 0 and 1 become the root of this client.
  Ino map_root(Ino ino) const { return raw(ino) <= 1 ? root : ino; }

  std::atomic<uint64_t> sid{0};
  ChangeLog change_log{sid};
  DataHooks* data = nullptr;
  Events events;

  IdRange inodes, slices;  // ids from local ranges
  Ledger ledger;           // counters, statistics, quotas waiting to be written; limits
  OpenFiles open_files;
  Trash trash;
  AclCache acls;
  LinkTargets link_targets;
  BusyDirs busy_dirs;
  OwnDirs own_dirs;
  Removed removed;
  Deleter deleter;      // objects of slices without references
  Compactor compactor;  // stop() before the data hooks go, and before the deleter
  LockBell lock_bell;
  LockWaits lock_waits;
  Doubtful doubtful;
  HeldLocks held_locks;
  std::unique_ptr<Jobs> jobs;

  // run() with this client's engine and clock.
  Result<CommitResult> run(std::initializer_list<Ino> hot, const std::function<Result<void>(Txn&)>& body);
  Result<void> read(const std::function<Result<void>(Txn&)>& body);
  // EROFS on a read-only client.
  Result<void> writable() const;
  // writable(), and EIO when this client's session ran out: others may have cleaned up after it (sustained.cc).
  Result<void> may_commit();
  // may_commit(), and EIO when this client lost a lock on the file while it slept.
  Result<void> may_change(Ino file);
  // counter += delta, which is told to the change log; gives the new value.
  Result<int64_t> add_counter(std::string_view name, int64_t delta);
  // Inside a transaction: kUnavailable while the session has run out, so that run() waits for the next heartbeat.
  Result<void> still_mine(Ino file) const;
  // After a sleep: which of the locks are gone?
  Result<void> look_after_locks();

 private:
  mutable std::shared_mutex format_mutex_;
  Format format_;
};

}  // namespace zest::meta
