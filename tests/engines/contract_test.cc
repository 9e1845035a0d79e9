// What src/meta/txn.h promises, on every engine.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include "engines.h"
#include "meta/txn.h"
#include "servers.h"

namespace zest::meta {

std::string fresh_memory_url() {
  static std::atomic<int> n = 0;
  return "memkv://contract-" + std::to_string(++n);
}

std::string fresh_sqlite_url() {
  struct Folder {
    Folder() {
      char pattern[] = "/tmp/zest-engines-XXXXXX";
      path = ::mkdtemp(pattern);
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string path;
  };
  static Folder folder;
  static std::atomic<int> n = 0;
  return "sqlite3://" + folder.path + "/" + std::to_string(++n) + ".db";
}

namespace {

class EngineContract : public ::testing::TestWithParam<EngineUnderTest> {
 protected:
  void SetUp() override {
    url_ = GetParam().fresh_url();
    engine_ = open();
    ASSERT_TRUE(engine_);
    auto prepared = engine_->prepare();
    ASSERT_TRUE(prepared) << prepared.error().message();
  }
  void TearDown() override {
    if (engine_) {
      auto done = engine_->reset();
      EXPECT_TRUE(done) << done.error().message();
    }
  }
  std::unique_ptr<Engine> open() {
    auto engine = open_engine(url_, {});
    if (!engine) ADD_FAILURE() << engine.error().message();
    return engine ? std::move(*engine) : nullptr;
  }
  Result<CommitResult> run_on(Engine& engine, const std::function<Result<void>(Txn&)>& body) {
    return run(engine, system_clock(), TxnOptions{}, body);
  }
  // Writes in a transaction that reads nothing.
  CommitResult write(const std::function<void(Txn&)>& body) {
    auto result = run_on(*engine_, [&](Txn& txn) -> Result<void> {
      body(txn);
      return {};
    });
    EXPECT_TRUE(result) << result.error().message();
    return result ? *result : CommitResult{};
  }
  Value get(const Key& key) {
    Value out;
    auto result = read(*engine_, system_clock(), [&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(const Value* value, txn.get(key));
      out = *value;
      return {};
    });
    EXPECT_TRUE(result) << result.error().message();
    return out;
  }
  std::map<Key, Value> table(Table table, uint64_t within = 0) {
    std::map<Key, Value> out;
    auto result = engine_->scan(table, within, [&](const Key& key, const Value& value) {
      EXPECT_TRUE(out.emplace(key, value).second) << "a record came twice";
      return true;
    });
    EXPECT_TRUE(result) << result.error().message();
    return out;
  }

  std::string url_;
  std::unique_ptr<Engine> engine_;
};

Attr sample_attr() {
  Attr attr;
  attr.flags = kFlagAppend;
  attr.type = FileType::kFile;
  attr.mode = 04755;
  attr.uid = 1000, attr.gid = 100;
  attr.atime = {1577934245, 123456789};
  attr.mtime = {-5, 999999999};
  attr.ctime = {0, 1};
  attr.nlink = 3;
  attr.length = (uint64_t{1} << 56) + 7;
  attr.rdev = 0x811;
  attr.parent = Ino{1};
  attr.access_acl = 4, attr.default_acl = 9;
  return attr;
}

TEST_P(EngineContract, AttributesKeepEveryMember) {
  Attr attr = sample_attr();
  write([&](Txn& txn) { txn.put_attr(Ino{7}, attr); });
  EXPECT_EQ(get(Key::inode(Ino{7})), Value(attr));
  attr.length = 9, attr.flags = 0, attr.access_acl = 0;
  write([&](Txn& txn) { txn.put_attr(Ino{7}, attr); });
  EXPECT_EQ(get(Key::inode(Ino{7})), Value(attr));
  write([&](Txn& txn) { txn.erase(Key::inode(Ino{7})); });
  EXPECT_EQ(get(Key::inode(Ino{7})), Value());
}

TEST_P(EngineContract, TheStorageTierIsKept) {
  Attr attr = sample_attr();
  attr.tier = 2;
  write([&](Txn& txn) { txn.put_attr(Ino{7}, attr); });
  EXPECT_EQ(get(Key::inode(Ino{7})), Value(attr));
  EXPECT_EQ(table(Table::kInodes), (std::map<Key, Value>{{Key::inode(Ino{7}), attr}}));
}

TEST_P(EngineContract, TrashInodesFit) {
  Ino ino{raw(kTrashIno) + 3};
  Attr attr = sample_attr();
  attr.parent = kTrashIno;
  write([&](Txn& txn) {
    txn.put_attr(ino, attr);
    txn.put(Key::entry(kTrashIno, "2026-11-22-15"), Entry{FileType::kDirectory, ino});
  });
  EXPECT_EQ(get(Key::inode(ino)), Value(attr));
  EXPECT_EQ(get(Key::entry(kTrashIno, "2026-11-22-15")), Value(Entry{FileType::kDirectory, ino}));
}

TEST_P(EngineContract, EveryKindOfRecordComesBack) {
  const std::string slices = encode_slices({Slice{0, SliceId{1}, 6, 0, 6}});
  AclRule rule{6, 4, 6, 4, {{1000, 6}}, {}};
  FlockMap flocks{{{1, 0xaff259a068d9a9bd}, 'W'}, {{2, 5}, 'R'}};
  PlockMap plocks{{{1, 0xFFFFFFFFFFFFFFFF}, {{LockType::kWrite, 7, 100, 149}, {LockType::kRead, 7, 200, kLockEnd}}},
                  {{3, 1}, {{LockType::kRead, 8, 0, 1}}}};
  std::string binary("a\0b\xff", 4);
  const std::map<Key, Value> records{
      {Key::setting(), std::string("{\n\"Name\": \"x\"\n}")},
      {Key::counter(counter::kNextInode), int64_t{1026}},
      {Key::counter(counter::kLastCleanupSessions), int64_t{1795360593}},
      {Key::entry(Ino{1}, "f"), Entry{FileType::kFile, Ino{2}}},
      {Key::entry(Ino{1}, std::string(255, '\xfe')), Entry{FileType::kSocket, Ino{3}}},
      {Key::chunk(Ino{2}, 0), slices},
      {Key::symlink(Ino{4}), binary},
      {Key::xattr(Ino{2}, "user.a"), binary},
      {Key::xattr(Ino{2}, "user.A"), std::string()},
      {Key::dir_stat(Ino{1}), DirStat{-5, 8192, 2}},
      {Key::dir_quota(Ino{1}), Quota{1 << 30, -1, 4096, 1}},
      {Key::user_quota(0), Quota{-1, -1, 4096, 1}},
      {Key::user_quota(4000000000u), Quota{10, 20, 30, 40}},
      {Key::group_quota(0), Quota{5, 6, 7, 8}},
      {Key::slice_ref(SliceId{8}, 100000), int64_t{3}},
      {Key::del_file(Ino{9}, 77), int64_t{1795360412}},
      {Key::del_slices(SliceId{15}, 1795360508), encode_slice_keys({{SliceId{9}, 3000}})},
      {Key::sustained(1, Ino{16}), true},
      {Key::session(1), SessionRecord{1795360597, "{\"Version\":\"1\"}"}},
      {Key::flocks(Ino{7}), flocks},
      {Key::plocks(Ino{7}), plocks},
      {Key::detached(Ino{30}), int64_t{1795360000}},
      {Key::acl(1), rule},
      {Key::acl(2), AclRule{7, 5, kAclAbsent, 0, {}, {}}},
  };
  write([&](Txn& txn) {
    for (const auto& [key, value] : records) txn.put(key, value);
  });
  for (const auto& [key, value] : records)
    EXPECT_EQ(get(key), value) << "kind " << static_cast<int>(key.kind) << " of " << key.a;
  EXPECT_EQ(get(Key::xattrs(Ino{2})), Value(XattrMap{{"user.a", binary}, {"user.A", ""}}));
  // the same records through the tables
  auto expect_table = [&](Table t, Kind kind) {
    std::map<Key, Value> expected;
    for (const auto& [key, value] : records)
      if (key.kind == kind) expected[key] = value;
    EXPECT_EQ(table(t), expected) << "table " << static_cast<int>(t);
  };
  expect_table(Table::kEntries, Kind::kEntry);
  expect_table(Table::kChunks, Kind::kChunk);
  expect_table(Table::kSymlinks, Kind::kSymlink);
  expect_table(Table::kXattrTable, Kind::kXattr);
  expect_table(Table::kDirStats, Kind::kDirStat);
  expect_table(Table::kDirQuotas, Kind::kDirQuota);
  expect_table(Table::kUserQuotas, Kind::kUserQuota);
  expect_table(Table::kGroupQuotas, Kind::kGroupQuota);
  expect_table(Table::kSliceRefs, Kind::kSliceRef);
  expect_table(Table::kDelFiles, Kind::kDelFile);
  expect_table(Table::kDelSlicesTable, Kind::kDelSlices);
  expect_table(Table::kSustainedTable, Kind::kSustained);
  expect_table(Table::kSessions, Kind::kSession);
  expect_table(Table::kFlockTable, Kind::kFlocks);
  expect_table(Table::kPlockTable, Kind::kPlocks);
  expect_table(Table::kDetachedNodes, Kind::kDetached);
  expect_table(Table::kAcls, Kind::kAcl);
  expect_table(Table::kCounters, Kind::kCounter);
  EXPECT_EQ(table(Table::kXattrTable, 3).size(), 0u);
  EXPECT_EQ(table(Table::kXattrTable, 2).size(), 2u);
  EXPECT_EQ(table(Table::kSustainedTable, 2).size(), 0u);
  // and away with them
  write([&](Txn& txn) {
    for (const auto& [key, value] : records) txn.erase(key);
  });
  for (const auto& [key, value] : records)
    EXPECT_EQ(get(key), Value()) << "kind " << static_cast<int>(key.kind) << " of " << key.a;
}

TEST_P(EngineContract, ReplacingLocksDropsTheOldOnes) {
  Key flocks = Key::flocks(Ino{7}), plocks = Key::plocks(Ino{7});
  write([&](Txn& txn) {
    txn.put(flocks, FlockMap{{{1, 1}, 'R'}, {{1, 2}, 'R'}});
    txn.put(plocks, PlockMap{{{1, 1}, {{LockType::kRead, 1, 0, 9}}}, {{1, 2}, {{LockType::kRead, 1, 0, 9}}}});
  });
  FlockMap one{{{1, 2}, 'W'}};
  PlockMap other{{{1, 2}, {{LockType::kWrite, 1, 5, 9}}}};
  write([&](Txn& txn) {
    txn.put(flocks, one);
    txn.put(plocks, other);
  });
  EXPECT_EQ(get(flocks), Value(one));
  EXPECT_EQ(get(plocks), Value(other));
}

TEST_P(EngineContract, WritesAreSeenByLaterReadsOfTheTransaction) {
  write([&](Txn& txn) { txn.put(Key::xattr(Ino{2}, "user.old"), std::string("1")); });
  auto result = run_on(*engine_, [&](Txn& txn) -> Result<void> {
    txn.put(Key::entry(Ino{1}, "a"), Entry{FileType::kFile, Ino{2}});
    ZEST_ASSIGN(auto entry, txn.entry(Ino{1}, "a"));
    EXPECT_EQ(entry, (Entry{FileType::kFile, Ino{2}}));
    ZEST_ASSIGN(bool filled, txn.has_entries(Ino{1}));
    EXPECT_TRUE(filled);
    txn.put(Key::xattr(Ino{2}, "user.new"), std::string("2"));
    ZEST_ASSIGN(auto all, txn.xattrs(Ino{2}));
    EXPECT_EQ(all, (XattrMap{{"user.old", "1"}, {"user.new", "2"}}));
    txn.erase(Key::xattr(Ino{2}, "user.old"));
    ZEST_ASSIGN(all, txn.xattrs(Ino{2}));
    EXPECT_EQ(all, (XattrMap{{"user.new", "2"}}));
    txn.erase(Key::xattrs(Ino{2}));
    ZEST_ASSIGN(auto gone, txn.xattr(Ino{2}, "user.new"));
    EXPECT_FALSE(gone);
    ZEST_ASSIGN(auto never_read, txn.xattr(Ino{2}, "user.old"));
    EXPECT_FALSE(never_read);
    txn.put(Key::xattr(Ino{2}, "user.last"), std::string("3"));
    ZEST_ASSIGN(all, txn.xattrs(Ino{2}));
    EXPECT_EQ(all, (XattrMap{{"user.last", "3"}}));
    txn.append(Ino{2}, 0, std::string(24, 'a'));
    ZEST_ASSIGN(auto list, txn.chunk(Ino{2}, 0));
    EXPECT_EQ(list, std::string(24, 'a'));
    txn.append(Ino{2}, 1, std::string(24, 'b'), true);
    ZEST_ASSIGN(list, txn.chunk(Ino{2}, 1));
    EXPECT_EQ(list, "");
    txn.add(Key::counter("usedSpace"), 5);
    txn.add(Key::counter("usedSpace"), 2);
    ZEST_ASSIGN(int64_t used, txn.counter("usedSpace"));
    EXPECT_EQ(used, 7);
    txn.add(Key::counter("usedSpace"), 1);
    ZEST_ASSIGN(used, txn.counter("usedSpace"));
    EXPECT_EQ(used, 8);
    return {};
  });
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(get(Key::xattrs(Ino{2})), Value(XattrMap{{"user.last", "3"}}));
  EXPECT_EQ(get(Key::counter("usedSpace")), Value(int64_t{8}));
  EXPECT_EQ(get(Key::chunk(Ino{2}, 0)), Value(std::string(24, 'a')));
  EXPECT_EQ(get(Key::chunk(Ino{2}, 1)), Value());
}

TEST_P(EngineContract, AppendAndItsCount) {
  std::string a(24, 'a'), b(24, 'b');
  auto first = write([&](Txn& txn) { txn.append(Ino{2}, 3, a); });
  auto second = write([&](Txn& txn) { txn.append(Ino{2}, 3, b + a); });
  EXPECT_EQ(get(Key::chunk(Ino{2}, 3)), Value(a + b + a));
  ASSERT_EQ(second.chunk_records.size(), 1u);
  EXPECT_EQ(second.chunk_records[0].first, Key::chunk(Ino{2}, 3));
  EXPECT_EQ(second.chunk_records[0].second, 3u);
  write([&](Txn& txn) { txn.append(Ino{2}, 3, b, true); });
  EXPECT_EQ(get(Key::chunk(Ino{2}, 3)), Value(a + b + a + b));
  EXPECT_EQ(table(Table::kChunks, 2).size(), 1u);
  EXPECT_EQ(table(Table::kChunks, 3).size(), 0u);
}

TEST_P(EngineContract, AppendingToAChunkThatWasReadNotices) {
  // Read, then appended by another: the reader's commit must not go through.
  auto other = open();
  std::string a(24, 'a'), b(24, 'b');
  write([&](Txn& txn) { txn.append(Ino{2}, 0, a); });
  auto txn = engine_->begin(true, {});
  ASSERT_TRUE(txn);
  std::vector<std::pair<Key, Value>> followed;
  std::atomic<bool> appended = false;
  Want want{Key::chunk(Ino{2}, 0)};
  ASSERT_TRUE((*txn)->fetch(std::span(&want, 1), followed));
  std::thread appender([&] {
    auto done = run_on(*other, [&](Txn& t) -> Result<void> {
      t.append(Ino{2}, 0, b);
      return {};
    });
    EXPECT_TRUE(done) << done.error().message();
    appended = true;
  });
  Change change{Change::Op::kPut, Key::chunk(Ino{2}, 0), a + a};
  auto done = (*txn)->commit(std::span(&change, 1));
  txn->reset();
  appender.join();
  // Either the commit came first and the append behind it, or it was refused.
  auto list = std::get<std::string>(get(Key::chunk(Ino{2}, 0)));
  if (done) {
    EXPECT_EQ(list, a + a + b);
  } else {
    EXPECT_EQ(done.error().fault, Fault::kConflict);
    EXPECT_EQ(list, a + b);
  }
}

TEST_P(EngineContract, AdditionsToStatisticsMergeAndNameTheMissing) {
  write([&](Txn& txn) {
    txn.put(Key::dir_stat(Ino{1}), DirStat{1, 2, 3});
    txn.put(Key::dir_quota(Ino{1}), Quota{100, 200, 5, 6});
    txn.put(Key::user_quota(9), Quota{-1, -1, 5, 6});
  });
  auto result = write([&](Txn& txn) {
    txn.add_stat(Key::dir_stat(Ino{1}), {10, -20, 30});
    txn.add_stat(Key::dir_stat(Ino{1}), {1, 1, 1});
    txn.add_stat(Key::dir_stat(Ino{2}), {1, 1, 1});
    txn.add_stat(Key::dir_quota(Ino{1}), {7, 10, 1});
    txn.add_stat(Key::dir_quota(Ino{2}), {7, 10, 1});
    txn.add_stat(Key::user_quota(9), {7, 10, 1});
    txn.add_stat(Key::group_quota(9), {7, 10, 1});
  });
  EXPECT_EQ(get(Key::dir_stat(Ino{1})), Value(DirStat{12, -17, 34}));
  EXPECT_EQ(get(Key::dir_quota(Ino{1})), Value(Quota{100, 200, 15, 7}));
  EXPECT_EQ(get(Key::user_quota(9)), Value(Quota{-1, -1, 15, 7}));
  std::set<Key> missing(result.missing.begin(), result.missing.end());
  EXPECT_EQ(missing, (std::set<Key>{Key::dir_stat(Ino{2}), Key::dir_quota(Ino{2}), Key::group_quota(9)}));
  EXPECT_EQ(get(Key::dir_stat(Ino{2})), Value());
}

TEST_P(EngineContract, ReferencesCountDown) {
  SliceId id{5};
  Key ref = Key::slice_ref(id, 1000);
  write([&](Txn& txn) { txn.new_slice(id, 1000); });
  auto more = write([&](Txn& txn) { txn.add(ref, 1); });
  EXPECT_EQ(get(ref), Value(int64_t{2}));
  auto less = write([&](Txn& txn) { txn.add(ref, -1); });
  ASSERT_EQ(less.refs.size(), 1u);
  EXPECT_EQ(less.refs[0], std::pair(ref, int64_t{1}));
  auto none = write([&](Txn& txn) {
    txn.add(ref, -1);
    txn.add(Key::slice_ref(SliceId{6}, 1), 1);
  });
  ASSERT_EQ(none.refs.size(), 1u);
  EXPECT_EQ(none.refs[0], std::pair(ref, int64_t{0}));
  EXPECT_EQ(get(ref), Value(int64_t{0}));
  EXPECT_TRUE(more.refs.empty());
}

TEST_P(EngineContract, FollowGivesWhatIsBehindTheEntry) {
  Attr dir;
  dir.type = FileType::kDirectory, dir.mode = 0755, dir.nlink = 2, dir.length = 4096, dir.parent = Ino{1};
  write([&](Txn& txn) {
    txn.put(Key::entry(Ino{1}, "d"), Entry{FileType::kDirectory, Ino{2}});
    txn.put(Key::entry(Ino{2}, "f"), Entry{FileType::kFile, Ino{3}});
    txn.put(Key::entry(Ino{1}, "lost"), Entry{FileType::kFile, Ino{4}});
    txn.put_attr(Ino{2}, dir);
  });
  auto txn = engine_->begin(false, {});
  ASSERT_TRUE(txn);
  std::vector<Want> wants{{Key::entry(Ino{1}, "d"), true, true},
                          {Key::inode(Ino{1})},
                          {Key::entry(Ino{1}, "nothing"), true, true},
                          {Key::entry(Ino{1}, "lost"), true}};
  std::vector<std::pair<Key, Value>> list;
  auto values = (*txn)->fetch(wants, list);
  ASSERT_TRUE(values) << values.error().message();
  ASSERT_EQ(values->size(), 4u);
  EXPECT_EQ((*values)[0], Value(Entry{FileType::kDirectory, Ino{2}}));
  EXPECT_EQ((*values)[1], Value());
  EXPECT_EQ((*values)[2], Value());
  EXPECT_EQ((*values)[3], Value(Entry{FileType::kFile, Ino{4}}));
  std::map<Key, Value> followed(list.begin(), list.end());
  EXPECT_EQ(followed, (std::map<Key, Value>{
                          {Key::inode(Ino{2}), dir}, {Key::has_entries(Ino{2}), true}, {Key::inode(Ino{4}), Value()}}));
}

TEST_P(EngineContract, ParentsCountTheNames) {
  Attr attr;
  attr.nlink = 3;
  auto links = [&](Ino parent, std::string_view name, int64_t delta) {
    write([&](Txn& txn) {
      if (delta > 0) {
        txn.put(Key::entry(parent, name), Entry{FileType::kFile, Ino{9}});
      } else {
        txn.erase(Key::entry(parent, name));
      }
      txn.add_links(Ino{9}, parent, delta);
    });
  };
  links(Ino{1}, "a", 1);
  links(Ino{1}, "b", 1);
  links(Ino{2}, "c", 1);
  EXPECT_EQ(get(Key::parents(Ino{9})), Value(LinkCounts{{Ino{1}, 2}, {Ino{2}, 1}}));
  links(Ino{2}, "c", -1);
  EXPECT_EQ(get(Key::parents(Ino{9})), Value(LinkCounts{{Ino{1}, 2}}));
}

TEST_P(EngineContract, ListingInPages) {
  write([&](Txn& txn) {
    for (int i = 0; i < 25; i++) {
      Ino ino{100 + static_cast<uint64_t>(i)};
      txn.put(Key::entry(Ino{1}, "n" + std::to_string(i)), Entry{FileType::kFile, ino});
      if (i != 7) txn.put_attr(ino, sample_attr());
    }
    txn.put(Key::entry(Ino{2}, "elsewhere"), Entry{FileType::kFile, Ino{5}});
  });
  for (bool with_attr : {false, true}) {
    std::string cursor;
    std::map<std::string, DirEntry> all;
    int pages = 0;
    do {
      auto page = engine_->list(Ino{1}, cursor, 10, with_attr);
      ASSERT_TRUE(page) << page.error().message();
      for (auto& entry : *page) all[entry.name] = entry;
      ASSERT_LT(++pages, 30);
    } while (!cursor.empty());
    ASSERT_EQ(all.size(), 25u);
    for (int i = 0; i < 25; i++) {
      auto& entry = all["n" + std::to_string(i)];
      EXPECT_EQ(entry.entry, (Entry{FileType::kFile, Ino{100 + static_cast<uint64_t>(i)}}));
      EXPECT_EQ(entry.attr.has_value(), with_attr && i != 7);
      if (entry.attr) {
        EXPECT_EQ(*entry.attr, sample_attr());
      }
    }
  }
}

TEST_P(EngineContract, CountersAddUpFromManyThreads) {
  auto other = open();
  ASSERT_TRUE(other);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; i++) {
        auto value = (t % 2 ? *other : *engine_).add_counter(counter::kNextTrash, 10);
        ASSERT_TRUE(value) << value.error().message();
        EXPECT_EQ(*value % 10, 0);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(get(Key::counter(counter::kNextTrash)), Value(int64_t{1000}));
  EXPECT_EQ(get(Key::counter("never")), Value());
}

TEST_P(EngineContract, ReadModifyWriteLosesNothing) {
  auto other = open();
  ASSERT_TRUE(other);
  write([&](Txn& txn) { txn.put_attr(Ino{2}, Attr{}); });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; i++) {
        auto done = run_on(t % 2 ? *other : *engine_, [&](Txn& txn) -> Result<void> {
          ZEST_ASSIGN(auto attr, txn.attr(Ino{2}));
          attr->length += 1;
          txn.put_attr(Ino{2}, *attr);
          return {};
        });
        ASSERT_TRUE(done) << done.error().message();
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(std::get<Attr>(get(Key::inode(Ino{2}))).length, 80u);
}

// Only one of those that saw "not there" may create.
TEST_P(EngineContract, WhatWasReadAbsentMustStayAbsent) {
  auto other = open();
  ASSERT_TRUE(other);
  std::atomic<int> created = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; i++) {
        std::string name = "f" + std::to_string(i);
        auto done = run_on(t % 2 ? *other : *engine_, [&](Txn& txn) -> Result<void> {
          ZEST_ASSIGN(auto entry, txn.entry(Ino{1}, name));
          if (entry) return fail(EEXIST);
          txn.put(Key::entry(Ino{1}, name), Entry{FileType::kFile, Ino{static_cast<uint64_t>(100 + t)}});
          return {};
        });
        if (done)
          created++;
        else
          EXPECT_EQ(done.error().code, EEXIST) << done.error().message();
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(created, 10);
  EXPECT_EQ(table(Table::kEntries).size(), 10u);
}

// An empty directory is removed, or gets an entry: never both.
TEST_P(EngineContract, EmptinessConflictsWithACreate) {
  auto other = open();
  ASSERT_TRUE(other);
  for (int round = 0; round < 15; round++) {
    Ino dir{static_cast<uint64_t>(10 + round)};
    Attr attr;
    attr.type = FileType::kDirectory;
    write([&](Txn& txn) { txn.put_attr(dir, attr); });
    Result<CommitResult> removed, created;
    std::thread remover([&] {
      removed = run_on(*other, [&](Txn& txn) -> Result<void> {
        ZEST_TRY(txn.want({{Key::inode(dir)}, {Key::has_entries(dir)}}));
        ZEST_ASSIGN(auto there, txn.attr(dir));
        EXPECT_TRUE(there);
        ZEST_ASSIGN(bool filled, txn.has_entries(dir));
        if (filled) return fail(ENOTEMPTY);
        txn.erase(Key::inode(dir));
        return {};
      });
    });
    std::thread creator([&] {
      created = run_on(*engine_, [&](Txn& txn) -> Result<void> {
        ZEST_TRY(txn.want({{Key::inode(dir)}, {Key::entry(dir, "x")}}));
        ZEST_ASSIGN(auto there, txn.attr(dir));
        if (!there) return fail(ENOENT);
        txn.put(Key::entry(dir, "x"), Entry{FileType::kFile, Ino{500}});
        return {};
      });
    });
    remover.join();
    creator.join();
    EXPECT_NE(removed.has_value(), created.has_value())
        << "round " << round << " removed: " << code_of(removed) << " created: " << code_of(created);
  }
}

TEST_P(EngineContract, AFailedBodyLeavesNothing) {
  auto result = run_on(*engine_, [&](Txn& txn) -> Result<void> {
    txn.put_attr(Ino{2}, Attr{});
    ZEST_ASSIGN(auto ignored, txn.attr(Ino{3}));
    (void)ignored;
    return fail(EPERM);
  });
  EXPECT_EQ(code_of(result), EPERM);
  EXPECT_EQ(get(Key::inode(Ino{2})), Value());
}

TEST_P(EngineContract, ResetLeavesNothing) {
  write([&](Txn& txn) {
    txn.put(Key::setting(), std::string("{}"));
    txn.put_attr(Ino{1}, Attr{});
    txn.put(Key::entry(Ino{1}, "a"), Entry{FileType::kFile, Ino{2}});
  });
  auto done = engine_->reset();
  ASSERT_TRUE(done) << done.error().message();
  auto prepared = engine_->prepare();
  ASSERT_TRUE(prepared) << prepared.error().message();
  EXPECT_EQ(get(Key::setting()), Value());
  EXPECT_EQ(table(Table::kInodes).size(), 0u);
  EXPECT_EQ(table(Table::kEntries).size(), 0u);
}

TEST_P(EngineContract, NoVolumeReadsAsNothing) {
  // Before the tables were ever made, there is simply no setting.
  auto dropped = engine_->reset();
  ASSERT_TRUE(dropped) << dropped.error().message();
  auto fresh = open();
  ASSERT_TRUE(fresh);
  auto result = read(*fresh, system_clock(), [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(const Value* value, txn.get(Key::setting()));
    EXPECT_EQ(*value, Value());
    return {};
  });
  EXPECT_TRUE(result) << result.error().message();
}

TEST_P(EngineContract, ManyWantsAndManyChanges) {
  write([&](Txn& txn) {
    for (uint64_t i = 0; i < 300; i++) {
      Attr attr;
      attr.length = i;
      txn.put_attr(Ino{10 + i}, attr);
      txn.append(Ino{10}, static_cast<ChunkIndex>(i), std::string(24, 'x'));
    }
  });
  std::vector<Want> wants;
  for (uint64_t i = 0; i < 300; i++) wants.push_back({Key::inode(Ino{10 + i})});
  auto result = read(*engine_, system_clock(), [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want(wants));
    for (uint64_t i = 0; i < 300; i++) {
      ZEST_ASSIGN(auto attr, txn.attr(Ino{10 + i}));
      if (!attr) return fail(ENOENT);
      EXPECT_EQ(attr->length, i);
    }
    return {};
  });
  EXPECT_TRUE(result) << result.error().message();
  EXPECT_EQ(table(Table::kChunks, 10).size(), 300u);
}

TEST_P(EngineContract, PingAndSync) {
  EXPECT_TRUE(engine_->ping());
  EXPECT_TRUE(engine_->sync());
}

using testing_servers::MariadbServer;
using testing_servers::PostgresServer;

INSTANTIATE_TEST_SUITE_P(
    Servers, EngineContract,
    ::testing::Values(EngineUnderTest{"postgres", [] { return PostgresServer::shared().fresh_url(); }},
                      EngineUnderTest{"mysql", [] { return MariadbServer::shared().fresh_url(); }}),
    [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Embedded, EngineContract,
                         ::testing::Values(EngineUnderTest{"memkv", fresh_memory_url},
                                           EngineUnderTest{"sqlite3", fresh_sqlite_url}),
                         [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Server, EngineContract, ::testing::Values(EngineUnderTest{"redis", fresh_redis_url}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace zest::meta
