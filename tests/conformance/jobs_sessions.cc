// Sessions and elections: section 12 of semantics.md.
#include <thread>

#include "fixture.h"
#include "meta/state.h"

namespace zest::conformance {
namespace {

using meta::Key;
using meta::Session;
using meta::Txn;

constexpr int64_t kHeartbeatMs = 600'000;  // never fires by itself while a test runs
constexpr int64_t kLifeMs = 5 * kHeartbeatMs;

class Sessions : public Conformance {
 protected:
  std::unique_ptr<Meta> slow_client(bool background_jobs = false) {
    meta::Options options;
    options.heartbeat_ms = kHeartbeatMs;
    return client(options, background_jobs);
  }
  std::optional<Session> session(uint64_t sid) {
    auto all = meta_->sessions(true);
    EXPECT_TRUE(all) << all.error().message();
    if (all)
      for (auto& one : *all)
        if (one.sid == sid) return one;
    return {};
  }
  void write(Meta& meta, Ino ino, uint32_t length) {
    auto id = meta.new_slice_id();
    ASSERT_OK(id);
    Meta::ChunkWrite write{0, Slice{0, *id, length, 0, length}, clock_.now()};
    EXPECT_OK(meta.write(ino, std::span(&write, 1)));
  }
  // An open file that is unlinked, and a lock of each kind.
  struct Held {
    Ino unlinked{0}, locked{0};
  };
  Held hold(Meta& meta) {
    Held held;
    auto made = meta.create(root_, kRootIno, "unlinked", 0644, 0, true, 2);
    EXPECT_OK(made);
    held.unlinked = made->entry.ino;
    write(meta, held.unlinked, 10'000);
    EXPECT_OK(meta.unlink(root_, kRootIno, "unlinked"));
    held.locked = mkfile(kRootIno, "locked");
    EXPECT_OK(meta.flock(root_, held.locked, 7, LockType::kRead, false));
    EXPECT_OK(meta.setlk(root_, held.locked, 8, PosixLock{LockType::kWrite, 1, 0, 99}, false));
    return held;
  }
  int code_of_flock(Meta& meta, Ino ino) {
    auto locked = meta.flock(root_, ino, 1, LockType::kWrite, false);
    if (locked) {
      EXPECT_OK(meta.flock(root_, ino, 1, LockType::kUnlock, false));
    }
    return code_of(locked);
  }
};
ON_EVERY_ENGINE(Sessions);

TEST_P(Sessions, record_tells_of_the_client) {
  auto other = slow_client();
  ASSERT_NE(0u, other->session_id());
  EXPECT_NE(meta_->session_id(), other->session_id());
  auto record = session(other->session_id());
  ASSERT_TRUE(record);
  EXPECT_EQ("test", record->info.host);
  EXPECT_EQ(kCompatVersion, record->info.version);
  EXPECT_EQ(clock_.now().sec + kLifeMs / 1000, record->expire);
  const uint64_t sid = other->session_id();
  EXPECT_OK(other->close_session());
  EXPECT_FALSE(session(sid));
}

TEST_P(Sessions, read_only_client_has_none) {
  meta::Options options;
  options.read_only = true;
  auto reader = client(options);
  ASSERT_TRUE(reader);
  EXPECT_EQ(0u, reader->session_id());
  EXPECT_EQ(1u, meta_->sessions(false)->size());
  EXPECT_OK(reader->close_session());
}

TEST_P(Sessions, shows_what_is_held) {
  auto other = slow_client();
  const Held held = hold(*other);
  auto record = session(other->session_id());
  ASSERT_TRUE(record);
  EXPECT_EQ(std::vector{held.unlinked}, record->sustained);
  ASSERT_EQ(2u, record->locks.size());
  for (const auto& lock : record->locks) {
    EXPECT_EQ(held.locked, lock.ino);
    if (lock.flock) {
      EXPECT_EQ('R', lock.flock);
      EXPECT_EQ(7u, lock.owner);
    } else {
      EXPECT_EQ(8u, lock.owner);
      ASSERT_EQ(1u, lock.ranges.size());
      EXPECT_EQ(99u, lock.ranges[0].end);
    }
  }
  EXPECT_OK(other->close_session());
}

TEST_P(Sessions, close_releases_what_is_held) {
  auto other = slow_client();
  const Held held = hold(*other);
  EXPECT_EQ(EAGAIN, code_of_flock(*meta_, held.locked));
  EXPECT_OK(other->close_session());
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, held.unlinked));
  EXPECT_EQ(0, code_of_flock(*meta_, held.locked));
  EXPECT_OK(meta_->setlk(root_, held.locked, 9, PosixLock{LockType::kWrite, 1, 0, 99}, false));
}

TEST_P(Sessions, dead_client_is_cleaned_up_after) {
  auto other = slow_client();
  auto survivor = slow_client();
  const Held held = hold(*other);
  const uint64_t dead = other->session_id();
  EXPECT_OK(other->flush_ledgers());  // what a client has not flushed when it dies is lost, until a recount
  other.reset();                      // without a word

  clock_.advance(kLifeMs / 2);
  EXPECT_OK(survivor->state().jobs->refresh());
  EXPECT_TRUE(session(dead)) << "it may still come back";
  clock_.advance(kLifeMs / 2 + 1000);
  EXPECT_OK(survivor->clean_stale_sessions());
  EXPECT_FALSE(session(dead));
  EXPECT_ERRNO(ENOENT, survivor->getattr(root_, held.unlinked));
  EXPECT_EQ(0, code_of_flock(*survivor, held.locked));
  EXPECT_OK(survivor->setlk(root_, held.locked, 9, PosixLock{LockType::kWrite, 1, 0, 99}, false));
  EXPECT_TRUE(session(survivor->session_id()));
  EXPECT_OK(survivor->close_session());
}

TEST_P(Sessions, heartbeat_cleans_stale_ones_unless_told_not_to) {
  meta::Options options;
  options.heartbeat_ms = kHeartbeatMs;
  auto other = client(options);
  const uint64_t dead = other->session_id();
  other.reset();
  clock_.advance(kLifeMs + 1000);
  EXPECT_OK(meta_->state().jobs->refresh());
  EXPECT_TRUE(session(dead)) << "the fixture's clients have no background jobs";
  EXPECT_OK(meta_->clean_stale_sessions());
  EXPECT_FALSE(session(dead));
}

// The observer's clock runs far ahead: to it, a client that renews its session looks as dead as one that does not.
TEST_P(Sessions, a_wrong_clock_does_not_bury_the_living) {
  auto observer = slow_client(true), living = slow_client(), dying = slow_client();
  const uint64_t alive = living->session_id(), dead = dying->session_id();
  dying.reset();
  int64_t beats = 0;
  auto beat = [&] {  // as the living client's own clock has it
    beats++;
    EXPECT_OK(living->state().run({}, [&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(const meta::Value* value, txn.get(Key::session(alive)));
      auto record = std::get<meta::SessionRecord>(*value);
      record.expire = 1'000'000 + beats * kHeartbeatMs / 1000;
      txn.put(Key::session(alive), record);
      return {};
    }));
    EXPECT_OK(observer->state().jobs->refresh());
  };
  clock_.advance(kLifeMs + 1000);
  beat();
  EXPECT_TRUE(session(dead)) << "seen for the first time";
  clock_.advance(kHeartbeatMs);
  beat();
  EXPECT_TRUE(session(dead));
  clock_.advance(kHeartbeatMs * 2);
  beat();
  EXPECT_FALSE(session(dead)) << "it stood still for three heartbeats";
  for (int i = 0; i < 5; i++) {
    clock_.advance(kHeartbeatMs * 2);
    beat();
    EXPECT_TRUE(session(alive));
  }
  EXPECT_OK(observer->close_session());
  EXPECT_OK(living->close_session());
}

TEST_P(Sessions, sleeper_notices_before_it_writes) {
  auto sleeper = slow_client();
  auto other = slow_client();
  const Ino file = mkfile(kRootIno, "f");
  const uint64_t sid = sleeper->session_id();
  EXPECT_TRUE(sleeper->state().jobs->session_alive());
  clock_.advance(kLifeMs + 1000);
  EXPECT_FALSE(sleeper->state().jobs->session_alive());
  EXPECT_OK(other->state().jobs->refresh());
  EXPECT_TRUE(other->state().jobs->session_alive());
  EXPECT_OK(other->clean_stale_sessions());
  EXPECT_FALSE(session(sid));
  // Its next change registers it again first.
  EXPECT_OK(sleeper->truncate(root_, file, 5, false));
  EXPECT_TRUE(sleeper->state().jobs->session_alive());
  auto record = session(sid);
  ASSERT_TRUE(record);
  EXPECT_EQ("test", record->info.host);
  EXPECT_EQ(clock_.now().sec + kLifeMs / 1000, record->expire);
  EXPECT_OK(sleeper->close_session());
  EXPECT_OK(other->close_session());
}

TEST_P(Sessions, sleeper_that_lost_a_lock_leaves_the_file_alone) {
  auto other = slow_client();
  const Ino locked = mkfile(kRootIno, "locked"), ranges = mkfile(kRootIno, "ranges"), free = mkfile(kRootIno, "free");
  EXPECT_OK(other->flock(root_, locked, 7, LockType::kWrite, false));
  EXPECT_OK(other->setlk(root_, ranges, 8, PosixLock{LockType::kWrite, 1, 0, 99}, false));
  EXPECT_OK(other->setlk(root_, free, 8, PosixLock{LockType::kWrite, 1, 0, 99}, false));
  EXPECT_OK(other->setlk(root_, free, 8, PosixLock{LockType::kUnlock, 1, 0, 99}, false));
  auto code_of_write = [&](Ino ino) {
    auto id = other->new_slice_id();
    EXPECT_OK(id);
    Meta::ChunkWrite write{0, Slice{0, *id, 10, 0, 10}, clock_.now()};
    return code_of(other->write(ino, std::span(&write, 1)));
  };
  clock_.advance(kLifeMs + 2000);
  EXPECT_OK(meta_->clean_stale_sessions());
  EXPECT_EQ(0, code_of_flock(*meta_, locked)) << "it is free for others";
  for (Ino ino : {locked, ranges}) {
    EXPECT_EQ(EIO, code_of_write(ino));
    EXPECT_ERRNO(EIO, other->truncate(root_, ino, 5, true));
    EXPECT_ERRNO(EIO, other->copy_file_range(root_, free, 0, ino, 0, 5));
  }
  EXPECT_EQ(0, code_of_write(free));
  // Whoever lets go of the lost lock, or takes it again, is in the know.
  EXPECT_OK(other->flock(root_, locked, 7, LockType::kUnlock, false));
  EXPECT_OK(other->setlk(root_, ranges, 8, PosixLock{LockType::kWrite, 1, 0, 9}, false));
  EXPECT_EQ(0, code_of_write(locked));
  EXPECT_EQ(0, code_of_write(ranges));
  EXPECT_OK(other->close_session());
}

// Woken while another client is about to clean up after it: what it still holds stays its own.
TEST_P(Sessions, who_wakes_in_time_keeps_its_locks) {
  auto other = slow_client();
  const Held held = hold(*other);
  clock_.advance(kLifeMs + 2000);
  const uint64_t sid = other->session_id();
  ASSERT_TRUE(session(sid)) << "stale, and not removed yet";
  EXPECT_OK(other->state().jobs->refresh());
  EXPECT_OK(meta::reap_stale(meta_->state(), {sid}));  // as of a look before the refresh
  EXPECT_TRUE(session(sid));
  EXPECT_EQ(EAGAIN, code_of_flock(*meta_, held.locked));
  EXPECT_OK(meta_->getattr(root_, held.unlinked));
  write(*other, held.locked, 10);
  EXPECT_OK(other->close_session());
}

TEST_P(Sessions, next_process_takes_over) {
  auto old = slow_client();
  const Ino file = mkfile(kRootIno, "f");
  const uint64_t sid = old->session_id();
  EXPECT_OK(old->flock(root_, file, 7, LockType::kWrite, false));
  EXPECT_OK(old->close_session(true));
  old.reset();
  EXPECT_TRUE(session(sid));
  auto engine = meta::open_engine(database_->url(), {});
  ASSERT_OK(engine);
  Meta next(std::move(*engine), clock_, {});
  ASSERT_OK(next.load());
  SessionInfo info;
  info.host = "next";
  ASSERT_OK(next.start_session(info, sid));
  EXPECT_EQ(sid, next.session_id());
  EXPECT_EQ("next", session(sid)->info.host);
  EXPECT_EQ(EAGAIN, code_of_flock(*meta_, file));
  EXPECT_OK(next.close_session());
  EXPECT_FALSE(session(sid));
  EXPECT_EQ(0, code_of_flock(*meta_, file));
}

TEST_P(Sessions, nobody_is_elected_twice) {
  auto other = slow_client();
  constexpr char kJob[] = "lastCleanupFiles";
  auto round = [&] {
    std::atomic<int> elected{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++)
      threads.emplace_back([&, meta = i % 2 ? meta_.get() : other.get()] {
        auto won = meta::elect(meta->state(), kJob, 3240);
        EXPECT_OK(won);
        if (won && *won) elected++;
      });
    for (auto& thread : threads) thread.join();
    return elected.load();
  };
  EXPECT_EQ(1, round());
  EXPECT_EQ(0, round());
  clock_.advance(3000'000);
  EXPECT_EQ(0, round());
  clock_.advance(241'000);
  EXPECT_EQ(1, round());
  // A stamp from the far future is damage.
  ASSERT_OK(meta_->state().run({}, [&](Txn& txn) -> Result<void> {
    txn.put(Key::counter(kJob), clock_.now().sec + 10 * 86400);
    return {};
  }));
  EXPECT_EQ(1, round());
  EXPECT_OK(other->close_session());
}

TEST_P(Sessions, settings_reach_running_clients) {
  auto other = slow_client();
  std::vector<Format> seen;
  std::vector<std::string> exits;
  meta::Events events;
  events.format_changed = [&](const Format& format) { seen.push_back(format); };
  events.must_exit = [&](const std::string& why) { exits.push_back(why); };
  other->set_events(events);
  EXPECT_OK(other->state().jobs->refresh());
  EXPECT_TRUE(seen.empty());
  change_format([](Format& format) {
    format.capacity = uint64_t{1} << 30;
    format.secret_key = "secret";
    format.key_encrypted = true;
  });
  EXPECT_OK(other->state().jobs->refresh());
  ASSERT_EQ(1u, seen.size());
  EXPECT_EQ(uint64_t{1} << 30, seen[0].capacity);
  EXPECT_EQ("secret", seen[0].secret_key);
  EXPECT_EQ(uint64_t{1} << 30, other->state().capacity);
  EXPECT_OK(other->state().jobs->refresh());
  EXPECT_EQ(1u, seen.size()) << "nothing changed since";
  EXPECT_TRUE(exits.empty());

  const Format format = meta_->format();
  auto put = [&](const std::optional<Format>& now) {
    ASSERT_OK(meta_->state().run({}, [&](Txn& txn) -> Result<void> {
      if (now)
        txn.put(Key::setting(), *dump_format(*now));
      else
        txn.erase(Key::setting());
      return {};
    }));
  };
  Format another = format;
  another.uuid = "4e4f4e45-0000-4000-8000-000000000002";
  put(another);
  EXPECT_OK(other->state().jobs->refresh());
  ASSERT_EQ(1u, exits.size());
  EXPECT_NE(std::string::npos, exits[0].find(another.uuid)) << exits[0];
  EXPECT_OK(other->state().jobs->refresh());
  EXPECT_EQ(1u, exits.size()) << "told once";

  auto third = [&] {
    put(format);
    auto made = slow_client();
    made->set_events(events);
    return made;
  };
  auto gone = third();
  put(std::nullopt);
  EXPECT_OK(gone->state().jobs->refresh());
  EXPECT_EQ(2u, exits.size());
  put(format);
  for (auto* meta : {other.get(), gone.get()}) EXPECT_OK(meta->close_session());
}

TEST_P(Sessions, lost_record_is_made_again) {
  auto other = slow_client();
  const uint64_t sid = other->session_id();
  ASSERT_OK(meta_->state().run({}, [&](Txn& txn) -> Result<void> {
    txn.erase(Key::session(sid));
    return {};
  }));
  EXPECT_FALSE(session(sid));
  EXPECT_OK(other->state().jobs->refresh());
  ASSERT_TRUE(session(sid));
  EXPECT_EQ("test", session(sid)->info.host);
  EXPECT_OK(other->close_session());
}

}  // namespace
}  // namespace zest::conformance
