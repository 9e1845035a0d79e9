#include "meta/engine/redis/redis_engine.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <functional>
#include <set>
#include <thread>

#include "base/bytes.h"
#include "meta/engine/redis/client.h"
#include "meta/engine/redis/test_server.h"

namespace zest::meta::redis {
namespace {

TestServer& server() {
  static TestServer server;
  return server;
}

std::unique_ptr<Engine> open_at(const std::string& url, EngineOptions options = {}) {
  auto engine = open_redis(url, options);
  EXPECT_TRUE(engine) << engine.error().message();
  return engine ? std::move(*engine) : nullptr;
}

// Bare commands on the same database, to see what the engine left there.
class Bare {
 public:
  explicit Bare(const std::string& url) : client_(*parse_url(url), {}) {}
  Reply operator()(std::vector<std::string> args) {
    auto reply = client_.call(args, Client::Repeat::kSafe);
    EXPECT_TRUE(reply) << args[0] << ": " << reply.error().message();
    return reply ? std::move(*reply) : Reply{};
  }

 private:
  Client client_;
};

Result<CommitResult> commit(EngineTxn& txn, std::vector<Change> changes) { return txn.commit(changes); }

Change put(Key key, Value value) { return {Change::Op::kPut, std::move(key), std::move(value)}; }

Attr attr_of(uint64_t length) {
  Attr attr;
  attr.length = length;
  attr.parent = Ino{1};
  return attr;
}

Result<std::vector<Value>> fetch(EngineTxn& txn, std::vector<Want> wants,
                                 std::vector<std::pair<Key, Value>>* followed = nullptr) {
  std::vector<std::pair<Key, Value>> ignored;
  return txn.fetch(wants, followed ? *followed : ignored);
}

TEST(RedisEngine, ReadsAndCommitsAreOneRoundTripEach) {
  auto engine = open_at(server().fresh_url());
  auto txn = *engine->begin(true, {});
  uint64_t before = round_trips(*engine);
  auto trips = [&] {
    uint64_t now = round_trips(*engine), used = now - before;
    before = now;
    return used;
  };
  ASSERT_TRUE(fetch(*txn, {{Key::inode(Ino{1})}}));
  EXPECT_EQ(trips(), 1u);
  ASSERT_TRUE(fetch(*txn, {{Key::entry(Ino{1}, "a"), true, true}, {Key::inode(Ino{2})}, {Key::dir_stat(Ino{1})}}));
  EXPECT_EQ(trips(), 1u);
  ASSERT_TRUE(fetch(*txn, {{Key::inode(Ino{3})}, {Key::session(1)}, {Key::xattrs(Ino{1})}}));
  EXPECT_EQ(trips(), 1u);
  ASSERT_TRUE(commit(*txn, {}));
  EXPECT_EQ(trips(), 0u);
  ASSERT_TRUE(commit(*txn, {put(Key::inode(Ino{2}), attr_of(3))}));
  EXPECT_EQ(trips(), 1u);
  std::string cursor;
  ASSERT_TRUE(engine->list(Ino{1}, cursor, 1000, true));
  trips();
  cursor.clear();
  ASSERT_TRUE(engine->list(Ino{1}, cursor, 1000, true));
  EXPECT_EQ(trips(), 1u);
}

TEST(RedisEngine, FollowsInodesBeyondTheDoublesOfLua) {
  auto engine = open_at(server().fresh_url());
  const uint64_t inodes[] = {2,
                             (uint64_t{1} << 52) - 1,
                             uint64_t{1} << 52,
                             (uint64_t{1} << 53) + 1,
                             10'000'000'000'000'001,
                             raw(kTrashIno) + 1,
                             0x7FFFFFFFFFFFFFFF,
                             0xFFFFFFFFFFFFFFFF};
  auto writer = *engine->begin(true, {});
  std::vector<Change> changes;
  for (uint64_t ino : inodes) {
    changes.push_back(put(Key::entry(Ino{1}, std::to_string(ino)), Entry{FileType::kDirectory, Ino{ino}}));
    changes.push_back(put(Key::inode(Ino{ino}), attr_of(ino / 3)));
    if (ino % 2 == 1) changes.push_back(put(Key::entry(Ino{ino}, "x"), Entry{FileType::kFile, Ino{77}}));
  }
  ASSERT_TRUE(commit(*writer, changes));
  for (uint64_t ino : inodes) {
    auto reader = *engine->begin(false, {});
    std::vector<std::pair<Key, Value>> followed;
    ASSERT_TRUE(fetch(*reader, {{Key::entry(Ino{1}, std::to_string(ino)), true, true}}, &followed));
    ASSERT_EQ(followed.size(), 2u);
    EXPECT_EQ(followed[0], (std::pair<Key, Value>(Key::inode(Ino{ino}), attr_of(ino / 3))));
    EXPECT_EQ(followed[1], (std::pair<Key, Value>(Key::has_entries(Ino{ino}), ino % 2 == 1)));
  }
  std::string cursor;
  auto page = engine->list(Ino{1}, cursor, 1000, true);
  ASSERT_TRUE(page);
  for (auto& entry : *page) {
    ASSERT_TRUE(entry.attr) << entry.name;
    EXPECT_EQ(*entry.attr, attr_of(raw(entry.entry.ino) / 3));
  }
}

TEST(RedisEngine, EachKindOfReadIsCompared) {
  std::string url = server().fresh_url();
  auto engine = open_at(url);
  Bare bare(url);
  auto seed = *engine->begin(true, {});
  std::string list(48, 'a'), long_text(300, 'x');
  ASSERT_TRUE(
      commit(*seed, {put(Key::inode(Ino{2}), attr_of(1)), put(Key::entry(Ino{1}, "a"), Entry{}),
                     put(Key::chunk(Ino{2}, 0), list), put(Key::symlink(Ino{3}), long_text),
                     put(Key::xattr(Ino{2}, "n"), long_text), put(Key::sustained(1, Ino{2}), true),
                     put(Key::del_file(Ino{9}, 1), int64_t{5}), put(Key::flocks(Ino{2}), FlockMap{{{1, 1}, 'R'}})}));
  struct {
    Key key;
    std::vector<std::string> change;  // by another client
  } cases[] = {
      {Key::inode(Ino{2}), {"SET", "i2", encode_attr(attr_of(2))}},
      {Key::inode(Ino{5}), {"SET", "i5", encode_attr(attr_of(2))}},
      {Key::inode(Ino{5}), {"DEL", "i5"}},
      {Key::entry(Ino{1}, "a"), {"HDEL", "d1", "a"}},
      {Key::entry(Ino{1}, "b"), {"HSET", "d1", "b", encode_entry({})}},
      {Key::has_entries(Ino{1}), {"DEL", "d1"}},
      {Key::has_entries(Ino{1}), {"HSET", "d1", "b", encode_entry({})}},
      {Key::chunk(Ino{2}, 0), {"RPUSH", "c2_0", std::string(24, 'b')}},
      {Key::chunk(Ino{2}, 1), {"RPUSH", "c2_1", std::string(24, 'b')}},
      {Key::symlink(Ino{3}), {"SET", "s3", std::string(299, 'x') + "y"}},
      {Key::xattrs(Ino{2}), {"HSET", "x2", "n", long_text + "y"}},
      {Key::xattrs(Ino{2}), {"HSET", "x2", "m", ""}},
      {Key::xattr(Ino{2}, "n"), {"HDEL", "x2", "n"}},
      {Key::sustained(1, Ino{2}), {"SREM", "session1", "2"}},
      {Key::del_file(Ino{9}, 1), {"ZADD", "delfiles", "6", "9:1"}},
      {Key::flocks(Ino{2}), {"HSET", "lockf2", "1_0000000000000001", "W"}},
      {Key::counter(counter::kUsedSpace), {"INCRBY", "usedSpace", "1"}},
      {Key::dir_stat(Ino{1}), {"HINCRBY", "dirUsedInodes", "1", "1"}},
  };
  int n = 0;
  for (const auto& c : cases) {
    for (bool changed : {false, true}) {
      auto txn = *engine->begin(true, {});
      ASSERT_TRUE(fetch(*txn, {{c.key}}));
      if (changed) bare(c.change);
      Key mark = Key::symlink(Ino{static_cast<uint64_t>(1000 + n++)});
      auto done = commit(*txn, {put(mark, std::string("x"))});
      EXPECT_EQ(done.has_value(), !changed) << c.change[0] << " " << c.change[1];
      if (!done) {
        EXPECT_EQ(done.error().fault, Fault::kConflict);
      }
      EXPECT_EQ(bare({"EXISTS", "s" + std::to_string(raw(Ino{mark.a}))}).integer, changed ? 0 : 1);
    }
  }
}

TEST(RedisEngine, LocksAreIndexedBySessionSharedOnesToo) {
  std::string url = server().fresh_url();
  auto engine = open_at(url);
  Bare bare(url);
  auto txn = *engine->begin(true, {});
  ASSERT_TRUE(commit(*txn, {put(Key::flocks(Ino{3}), FlockMap{{{1, 7}, 'R'}, {{2, 8}, 'R'}})}));
  EXPECT_EQ(bare({"SISMEMBER", "locked1", "lockf3"}).integer, 1);
  EXPECT_EQ(bare({"SISMEMBER", "locked2", "lockf3"}).integer, 1);
  EXPECT_EQ(bare({"HGET", "lockf3", "1_0000000000000007"}).text, "R");
  auto release = *engine->begin(true, {});
  ASSERT_TRUE(fetch(*release, {{Key::flocks(Ino{3})}}));
  ASSERT_TRUE(commit(*release, {put(Key::flocks(Ino{3}), FlockMap{{{2, 8}, 'R'}})}));
  EXPECT_EQ(bare({"EXISTS", "locked1"}).integer, 0);
  EXPECT_EQ(bare({"SISMEMBER", "locked2", "lockf3"}).integer, 1);
  std::set<uint64_t> found;
  ASSERT_TRUE(
      engine->scan(Table::kFlockTable, 2, [&](const Key& key, const Value&) { return found.insert(key.a).second; }));
  EXPECT_EQ(found, std::set<uint64_t>{3});
}

TEST(RedisEngine, CommitEndsAForeignWatch) {
  std::string url = server().fresh_url();
  auto engine = open_at(url);
  auto settings = *parse_url(url);
  auto stream = Stream::open(settings.addresses[0], settings);
  ASSERT_TRUE(stream);
  Connection foreign(std::move(*stream), 60'000, 60'000);
  Pipeline watch, exec;
  watch.add("SELECT", std::to_string(settings.db));
  watch.add("WATCH", "i1", "d1");
  ASSERT_TRUE(foreign.exchange(watch));
  auto txn = *engine->begin(true, {});
  ASSERT_TRUE(commit(*txn, {put(Key::inode(Ino{1}), attr_of(1))}));
  exec.add("MULTI");
  exec.add("SET", "i1", "x");
  exec.add("EXEC");
  auto replies = foreign.exchange(exec);
  ASSERT_TRUE(replies);
  EXPECT_TRUE(replies->back().is_nil());
}

TEST(RedisEngine, ScriptsAreLoadedAgainWhenTheServerForgotThem) {
  std::string url = server().fresh_url();
  auto engine = open_at(url);
  ASSERT_TRUE(engine->ping());
  Bare{url}({"SCRIPT", "FLUSH"});
  auto txn = *engine->begin(true, {});
  ASSERT_TRUE(commit(*txn, {put(Key::inode(Ino{1}), attr_of(1))}));
  Bare{url}({"SCRIPT", "FLUSH"});
  std::string cursor;
  EXPECT_TRUE(engine->list(Ino{1}, cursor, 10, true));
}

TEST(RedisEngine, LargeDirectoryIsListedInPages) {
  auto engine = open_at(server().fresh_url());
  constexpr int kEntries = 5000;
  for (int from = 0; from < kEntries; from += 1000) {
    auto txn = *engine->begin(true, {});
    std::vector<Change> changes;
    for (int i = from; i < from + 1000; i++)
      changes.push_back(put(Key::entry(Ino{1}, "name" + std::to_string(i)), Entry{FileType::kFile, Ino{10u + i}}));
    ASSERT_TRUE(commit(*txn, changes));
  }
  std::set<std::string> names;
  std::string cursor;
  uint64_t before = 0;
  int pages = 0;
  do {
    auto page = engine->list(Ino{1}, cursor, 1000, true);
    ASSERT_TRUE(page);
    if (before == 0) before = round_trips(*engine);  // the connection for listings is there now
    for (auto& entry : *page) names.insert(entry.name);
    pages++;
  } while (!cursor.empty());
  EXPECT_EQ(names.size(), static_cast<size_t>(kEntries));
  EXPECT_EQ(round_trips(*engine) - before, static_cast<uint64_t>(pages - 1));
  EXPECT_LE(pages, 12);
}

TEST(RedisEngine, ChunksOfAFileAreFoundAlsoBeyondItsLength) {
  auto engine = open_at(server().fresh_url());
  auto txn = *engine->begin(true, {});
  std::vector<Change> changes{put(Key::inode(Ino{2}), attr_of(700 * kChunkSize))};
  std::set<uint64_t> expected{0, 15, 30, 690, 1300};
  for (uint64_t index : expected)
    changes.push_back(put(Key::chunk(Ino{2}, static_cast<ChunkIndex>(index)), std::string(24, 'a')));
  changes.push_back(put(Key::chunk(Ino{20}, 0), std::string(24, 'a')));
  ASSERT_TRUE(commit(*txn, changes));
  std::set<uint64_t> found;
  ASSERT_TRUE(engine->scan(Table::kChunks, 2, [&](const Key& key, const Value&) {
    EXPECT_EQ(key.a, 2u);
    found.insert(key.b);
    return true;
  }));
  EXPECT_EQ(found, expected);
  int one = 0;
  ASSERT_TRUE(engine->scan(Table::kChunks, 0, [&](const Key&, const Value&) { return ++one < 1; }));
  EXPECT_EQ(one, 1);
}

TEST(RedisEngine, ManyThreadsShareConnections) {
  std::string url = server().fresh_url();
  auto engine = open_at(url);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (uint64_t t = 0; t < 16; t++)
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 100; i++) {
        Ino ino{1000 * (t + 1) + i};
        auto txn = *engine->begin(true, {});
        if (!fetch(*txn, {{Key::inode(ino)}}) || !commit(*txn, {put(Key::inode(ino), attr_of(raw(ino)))})) wrong++;
        auto reader = *engine->begin(false, {});
        auto values = fetch(*reader, {{Key::inode(ino)}});
        if (!values || (*values)[0] != Value(attr_of(raw(ino)))) wrong++;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(RedisEngine, ServerRestarts) {
  TestServer own({"--appendonly", "yes", "--appendfsync", "always"});
  auto engine = open_at(own.url(0));
  auto txn = *engine->begin(true, {});
  ASSERT_TRUE(commit(*txn, {put(Key::inode(Ino{2}), attr_of(5))}));
  own.stop();
  auto away = *engine->begin(false, {});
  auto values = fetch(*away, {{Key::inode(Ino{2})}});
  ASSERT_FALSE(values);
  EXPECT_EQ(values.error().fault, Fault::kUnavailable);
  auto refused = commit(*away, {put(Key::inode(Ino{2}), attr_of(6))});
  EXPECT_EQ(code_of(refused), EROFS);  // begun for reading
  own.start();
  auto again = run(*engine, system_clock(), {}, [](Txn& t) -> Result<void> {
    ZEST_ASSIGN(auto attr, t.attr(Ino{2}));
    EXPECT_EQ(attr, attr_of(5));
    t.put_attr(Ino{2}, attr_of(7));
    return {};
  });
  EXPECT_TRUE(again) << again.error().message();
}

TEST(RedisEngine, ReadOnlyClientsDoNotWrite) {
  EngineOptions options;
  options.read_only = true;
  auto engine = open_at(server().fresh_url(), options);
  auto txn = *engine->begin(true, {});
  EXPECT_EQ(code_of(commit(*txn, {put(Key::inode(Ino{2}), attr_of(5))})), EROFS);
  EXPECT_EQ(code_of(engine->add_counter("usedSpace", 1)), EROFS);
}

TEST(RedisEngine, PasswordsAndUsers) {
  TestServer own({"--requirepass", "hunter2", "--user", "fs", "on", ">word", "~*", "+@all"});
  std::string where = "@" + own.socket_path();
  EXPECT_TRUE(open_redis("unix://:hunter2" + where, {}));
  EXPECT_TRUE(open_redis("unix://fs:word" + where, {}));
  for (const char* bad : {"", ":wrong", "fs:hunter2"}) {
    auto refused = open_redis("unix://" + std::string(bad) + where, {});
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().code, EACCES);
    EXPECT_EQ(refused.error().fault, Fault::kPlain);
    EXPECT_EQ(refused.error().what.find("hunter2"), std::string::npos);
  }
}

TEST(RedisEngine, NothingListens) {
  auto refused = open_redis("unix:///nonexistent/socket", {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::kUnavailable);
}

TEST(RedisEngine, OutOfMemoryIsNoSpace) {
  TestServer own({"--maxmemory", "1", "--maxmemory-policy", "noeviction"});
  auto engine = open_at(own.url(0));
  auto txn = *engine->begin(true, {});
  EXPECT_EQ(code_of(commit(*txn, {put(Key::inode(Ino{2}), attr_of(5))})), ENOSPC);
}

TEST(RedisEngine, EvictionIsTurnedOff) {
  TestServer own({"--maxmemory-policy", "allkeys-lru"});
  auto engine = open_at(own.url(0));
  auto policy = Bare(own.url(0))({"CONFIG", "GET", "maxmemory-policy"});
  ASSERT_EQ(policy.items.size(), 2u);
  EXPECT_EQ(policy.items[1].text, "noeviction");
}

// A name that was never asked for costs nothing only where it came with the preload.
TEST(RedisEngine, PreloadBringsTheEntriesOfTheRoot) {
  constexpr uint64_t kNames = 2000;
  const std::string url = server().fresh_url();
  auto writer = open_at(url);
  std::vector<Change> changes;
  for (uint64_t i = 0; i < kNames; i++) {
    changes.push_back(put(Key::inode(Ino{10 + i}), attr_of(i)));
    changes.push_back(put(Key::entry(Ino{1}, "f" + std::to_string(i)), Entry{FileType::kFile, Ino{10 + i}}));
  }
  ASSERT_TRUE(commit(**writer->begin(true, {}), changes));
  auto costs = [&](Engine& reader, uint64_t i) {
    const uint64_t before = round_trips(reader);
    auto done = read(reader, system_clock(), [&](Txn& txn) -> Result<void> {
      ZEST_TRY(txn.want({{Key::entry(Ino{1}, "f" + std::to_string(i)), true}}));
      ZEST_ASSIGN(auto attr, txn.attr(Ino{10 + i}));
      EXPECT_EQ(attr, attr_of(i));
      return {};
    });
    EXPECT_TRUE(done) << done.error().message();
    return round_trips(reader) - before;
  };
  auto plain = open_at(url + "&client-cache=true");
  auto preloaded = open_at(url + "&client-cache=true&client-cache-preload=" + std::to_string(kNames));
  uint64_t next = 0;
  while (next < kNames && costs(*preloaded, next) > 0) {
    EXPECT_GE(costs(*plain, next), 1u);
    next++;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ASSERT_LT(next, kNames);
  for (uint64_t seen = 0; seen != round_trips(*preloaded);) {  // until the rest has come in, too
    seen = round_trips(*preloaded);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  for (uint64_t i = next; i < kNames; i++) EXPECT_EQ(costs(*preloaded, i), 0u) << i;
}

}  // namespace
}  // namespace zest::meta::redis
