// The change log (encodings.md section 17): which lines each operation writes, on every engine.
#include "meta/changelog.h"

#include <fmt/format.h>

#include <thread>

#include "fixture.h"
#include "meta/state.h"

namespace zest::conformance {
namespace {

using namespace meta;
using Lines = std::vector<std::string>;

class Log : public Conformance {
 protected:
  void choose(Format& format) override {
    format.change_log = true;
    format.enable_acl = true;
  }
  void SetUp() override {
    Conformance::SetUp();
    dir_ = mkdir(kRootIno, "dir");
    file_ = mkfile(dir_, "f");
    clock_.advance(1000);
    (void)fresh();
  }
  // What was written since the last call: "OP(...)", without elections and ids. Each line has the time of the clock.
  Lines fresh() {
    auto lines = meta_->engine().log_lines(next_, 10'000);
    EXPECT_OK(lines);
    Lines out;
    for (const auto& line : *lines) {
      EXPECT_GE(line.version, next_);
      next_ = line.version + 1;
      auto entry = parse_log_line(line.text);
      EXPECT_TRUE(entry) << line.text;
      if (!entry || entry->op == "INCR_COUNTER" || entry->op == "SET") continue;
      EXPECT_LE(entry->at, clock_.now());
      const bool by_whom = entry->sid == meta_->session_id() || entry->sid == 0 || entry->op == "NEWSESSION";
      EXPECT_TRUE(by_whom) << line.text;
      const size_t begin = line.text.find('|') + 1;
      out.push_back(line.text.substr(begin, line.text.rfind('|') - begin));
    }
    return out;
  }
  void expect(const std::string& line) { EXPECT_EQ(fresh(), Lines{line}); }
  Ino next_inode(int more = 1) { return Ino{raw(file_) + static_cast<uint64_t>(more)}; }
  std::string ino(Ino i) { return std::to_string(raw(i)); }
  bool on_redis() { return meta_->engine().info().inline_counters; }
  Slice write(Ino where, ChunkIndex chunk, uint32_t pos, uint32_t len) {
    const Slice slice{pos, meta_->new_slice_id().value(), len, 0, len};
    const Meta::ChunkWrite one{chunk, slice, Time{5, 6}};
    EXPECT_OK(meta_->write(where, {&one, 1}));
    return slice;
  }

  int64_t next_ = 1;
  Ino dir_{0}, file_{0};
};
ON_EVERY_ENGINE(Log);

class LogTrash : public Log {
 protected:
  void choose(Format& format) override {
    Log::choose(format);
    format.trash_days = 1;
  }
};
ON_EVERY_ENGINE(LogTrash);

TEST_P(Log, making_names) {
  const Context me = user(7, 8);
  ASSERT_OK(meta_->setattr(root_, dir_, kSetMode, [] {
    Attr a;
    a.mode = 02777;
    return a;
  }()));
  (void)fresh();
  const auto in = raw(dir_);
  ASSERT_OK(meta_->mkdir(me, dir_, "d,1", 0750, 022));
  expect(fmt::format("CREATE({},d%2C1,7,8,2,488,18,,linux,true):{}", in, ino(next_inode(1))));
  ASSERT_OK(meta_->mknod(me, dir_, "pipe", FileType::kFifo, 0600, 0, 0));
  expect(fmt::format("CREATE({},pipe,7,8,4,384,0,,linux,true):{}", in, ino(next_inode(2))));
  ASSERT_OK(meta_->symlink(me, dir_, "l", "to\xFF"));
  expect(fmt::format("CREATE({},l,7,8,3,511,0,to%FF,linux,true):{}", in, ino(next_inode(3))));
  auto made = meta_->create(me, dir_, "new", 0644, 022, true, 2);
  ASSERT_OK(made);
  expect(fmt::format("CREATE({},new,7,8,1,420,18,,linux,true):{}", in, ino(made->entry.ino)));
  ASSERT_OK(meta_->close(made->entry.ino));
  ASSERT_OK(meta_->link(root_, file_, dir_, "f2"));
  expect(fmt::format("LINK({},{},f2,true):2", ino(file_), in));
  EXPECT_ERRNO(EEXIST, meta_->link(root_, file_, dir_, "f2"));
  EXPECT_ERRNO(EEXIST, meta_->mkdir(me, dir_, "d,1", 0750, 022));
  EXPECT_EQ(fresh(), Lines{}) << "what failed says nothing";
}

TEST_P(Log, a_file_without_a_name) {
  auto made = meta_->tmpfile(root_, dir_, 0600, 0);
  ASSERT_OK(made);
  const auto in = raw(dir_), number = raw(made->ino);
  EXPECT_EQ(fresh(), (Lines{fmt::format("CREATE({0},tmpfile_{1},0,0,1,384,0,,linux,false):{1}", in, number),
                            fmt::format("UNLINK({0},tmpfile_{1},0,true,false):{1}", in, number)}));
  ASSERT_OK(meta_->close(made->ino));
  expect(fmt::format("DELSUSTAINED({},{})", meta_->session_id(), number));
}

TEST_P(Log, removing_names) {
  const auto in = raw(dir_);
  const Ino sub = mkdir(dir_, "sub"), other = mkfile(dir_, "g");
  ASSERT_OK(meta_->link(root_, other, dir_, "g2"));
  (void)fresh();
  ASSERT_OK(meta_->rmdir(root_, dir_, "sub"));
  expect(fmt::format("RMDIR({},sub,0):{}", in, raw(sub)));
  ASSERT_OK(meta_->unlink(root_, dir_, "g2"));
  expect(fmt::format("UNLINK({},g2,0,false,true):{}", in, raw(other)));
  ASSERT_OK(meta_->open(root_, other, 0));
  ASSERT_OK(meta_->unlink(root_, dir_, "g"));
  expect(fmt::format("UNLINK({},g,0,true,true):{}", in, raw(other)));
  ASSERT_OK(meta_->close(other));
  expect(fmt::format("DELSUSTAINED({},{})", meta_->session_id(), raw(other)));
  EXPECT_ERRNO(ENOENT, meta_->unlink(root_, dir_, "g"));
  EXPECT_EQ(fresh(), Lines{});
}

TEST_P(Log, removing_many_at_once) {
  const auto in = raw(dir_);
  const Ino a = mkfile(dir_, "a"), b = mkfile(dir_, "b,"), c = mkfile(dir_, "c");
  ASSERT_OK(meta_->open(root_, b, 0));
  (void)fresh();
  const Lines names{"a", "missing", "b,", "c"};
  ASSERT_OK(meta_->unlink_files(root_, dir_, names, false));
  EXPECT_EQ(fresh(), (Lines{fmt::format("UNLINK({},b%2C,0,true,true):{}", in, raw(b)),
                            fmt::format("UNLINKBATCH({},a,c,0,true):{},{}", in, raw(a), raw(c))}));
  ASSERT_OK(meta_->close(b));
}

TEST_P(Log, data_of_removed_files) {
  const Slice slice = write(file_, 1, 5, 100);
  ASSERT_OK(meta_->unlink(root_, dir_, "f"));
  meta_->drain_deletes();
  const auto lines = fresh();
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[2], fmt::format("DELCHUNK({},1)", raw(file_)));
  EXPECT_EQ(lines[3], fmt::format("DELETESLICE({},100)", raw(slice.id)));
}

TEST_P(LogTrash, into_the_trash) {
  const auto in = raw(dir_);
  ASSERT_OK(meta_->unlink(root_, dir_, "f"));
  const auto hour = raw(hour_dir());
  EXPECT_EQ(fresh(), (Lines{fmt::format("CREATE({},{},0,0,2,365,0,,linux,false):{}", raw(kTrashIno),
                                        trash_hour_name(clock_.now().sec), hour),
                            fmt::format("UNLINK({},f,{},false,true):{}", in, hour, raw(file_))}));
  const Ino sub = mkdir(dir_, "sub"), a = mkfile(dir_, "a"), b = mkfile(dir_, "b");
  (void)fresh();
  ASSERT_OK(meta_->rename(root_, dir_, "a", dir_, "b", 0));
  expect(fmt::format("MOVE({0},a,{0},b,0,{1},{2}):{3}", in, raw(b), hour, raw(a)));
  ASSERT_OK(meta_->rmdir(root_, dir_, "sub"));
  expect(fmt::format("RMDIR({},sub,{}):{}", in, hour, raw(sub)));
  clock_.advance(4 * 3'600'000);
  ASSERT_OK(meta_->clean_trash(clock_.now().sec));
  const auto lines = fresh();
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines.back(),
            fmt::format("RMDIR({},{},0):{}", raw(kTrashIno), trash_hour_name(clock_.now().sec - 4 * 3600), hour));
}

TEST_P(Log, renames) {
  const auto in = raw(dir_);
  const Ino a = mkfile(dir_, "a"), b = mkfile(kRootIno, "b"), c = mkdir(dir_, "c"), d = mkdir(dir_, "d");
  (void)fresh();
  ASSERT_OK(meta_->rename(root_, dir_, "a", kRootIno, "a(", 0));
  expect(fmt::format("MOVE({},a,1,a%28,0,0,0):{}", in, raw(a)));
  ASSERT_OK(meta_->rename(root_, kRootIno, "a(", kRootIno, "b", 0));
  expect(fmt::format("MOVE(1,a%28,1,b,0,{},0):{}", raw(b), raw(a)));
  ASSERT_OK(meta_->rename(root_, kRootIno, "b", dir_, "b", kRenameNoReplace));
  expect(fmt::format("MOVE(1,b,{},b,1,0,0):{}", in, raw(a)));
  ASSERT_OK(meta_->rename(root_, dir_, "b", dir_, "c", kRenameExchange));
  expect(fmt::format("MOVE({0},b,{0},c,2,{1},0):{2}", in, raw(c), raw(a)));
  ASSERT_OK(meta_->rename(root_, dir_, "b", dir_, "d", 0));
  expect(fmt::format("MOVE({0},b,{0},d,0,{1},0):{2}", in, raw(d), raw(c)));
  ASSERT_OK(meta_->rename(root_, dir_, "c", dir_, "w", kRenameWhiteout));
  EXPECT_EQ(fresh(), (Lines{fmt::format("MOVE({0},c,{0},w,0,0,0):{1}", in, raw(a)),
                            fmt::format("CREATE({},c,0,0,6,0,0,,linux,false):{}", in, raw(find(dir_, "c")))}));
  ASSERT_OK(meta_->rename(root_, dir_, "d", dir_, "d", 0));
  EXPECT_ERRNO(EEXIST, meta_->rename(root_, dir_, "d", dir_, "c", kRenameNoReplace));
  EXPECT_EQ(fresh(), Lines{});
}

TEST_P(Log, attributes) {
  Attr want;
  want.mode = 0640, want.uid = 7, want.gid = 8, want.atime = {5, 6}, want.mtime = {7, 8};
  const auto expected = [&](uint32_t set) {
    const Attr is = attr(file_);
    expect(fmt::format("SETATTR({},{},0,{},{},{},{},{},{},{},{},{},{},{})", raw(file_), set, is.uid, is.gid, is.mode,
                       is.flags, is.atime.sec, is.mtime.sec, is.atime.nsec, is.mtime.nsec, is.ctime.sec, is.ctime.nsec,
                       is.access_acl));
  };
  ASSERT_OK(meta_->setattr(root_, file_, kSetMode, want));
  expected(1);
  clock_.advance(1500);
  ASSERT_OK(meta_->setattr(root_, file_, kSetUid | kSetGid, want));
  expected(6);
  ASSERT_OK(meta_->setattr(root_, file_, kSetAtime | kSetMtime, want));
  EXPECT_EQ(attr(file_).mtime, want.mtime);
  expected(48);
  want.flags = kFlagImmutable;
  ASSERT_OK(meta_->setattr(root_, file_, kSetFlags, want));
  expected(8192);
  EXPECT_ERRNO(EPERM, meta_->setattr(root_, file_, kSetMode, want));
  EXPECT_EQ(fresh(), Lines{});
}

TEST_P(Log, xattrs_and_acls) {
  const auto f = raw(file_);
  ASSERT_OK(meta_->setxattr(root_, file_, "user.a", std::string("v,\0", 3), kXattrCreate));
  expect(fmt::format("SETXATTR({},user.a,v%2C%00,1)", f));
  ASSERT_OK(meta_->setxattr(root_, file_, "user.a", "", 0));
  expect(fmt::format("SETXATTR({},user.a,,0)", f));
  ASSERT_OK(meta_->removexattr(root_, file_, "user.a"));
  expect(fmt::format("REMOVEXATTR({},user.a)", f));
  EXPECT_ERRNO(ENODATA, meta_->removexattr(root_, file_, "user.a"));
  AclRule rule;
  rule.owner = 7, rule.group = 5, rule.mask = 6, rule.other = 5;
  rule.users = {{1000, 6}};
  ASSERT_OK(meta_->set_acl(root_, file_, false, rule));
  expect(fmt::format("SETFACL({},1,%00%07%00%05%00%06%00%05%00%00%00%01%00%00%03%E8%00%06%00%00%00%00)", f));
  ASSERT_OK(meta_->set_acl(root_, dir_, true, rule));
  expect(fmt::format("SETFACL({},2,%00%07%00%05%00%06%00%05%00%00%00%01%00%00%03%E8%00%06%00%00%00%00)", raw(dir_)));
  ASSERT_OK(meta_->set_acl(root_, dir_, true, AclRule{}));
  expect(fmt::format("SETFACL({},2,%FF%FF%FF%FF%FF%FF%FF%FF%00%00%00%00%00%00%00%00)", raw(dir_)));
}

TEST_P(Log, data) {
  const auto f = raw(file_);
  const Slice first = write(file_, 0, 0, 10);
  expect(fmt::format("WRITE({},0,0,{},10,5,6):{}", f, raw(first.id), on_redis() ? 0 : 1));
  Meta::ChunkWrite three[3];
  for (size_t i = 0; i < 3; i++)
    three[i] = {i == 1 ? 1u : 0u, {100, meta_->new_slice_id().value(), 7, 0, 7}, Time{1'800'000'000, 5}};
  ASSERT_OK(meta_->write(file_, three));
  const int none = on_redis();
  EXPECT_EQ(fresh(),
            (Lines{fmt::format("WRITE({},0,100,{},7,1800000000,5):{}", f, raw(three[0].slice.id), none ? 0 : 2),
                   fmt::format("WRITE({},1,100,{},7,1800000000,5):{}", f, raw(three[1].slice.id), none ? 0 : 1),
                   fmt::format("WRITE({},0,100,{},7,1800000000,5):{}", f, raw(three[2].slice.id), none ? 0 : 3)}));
  const uint64_t length = kChunkSize + 107;
  ASSERT_OK(meta_->truncate(root_, file_, 50, false));
  expect(fmt::format("TRUNCATE({},{},50,0)", f, length));
  ASSERT_OK(meta_->truncate(root_, file_, 60, true));
  expect(fmt::format("TRUNCATE({},50,60,1)", f));
  ASSERT_OK(meta_->truncate(root_, file_, 60, false));
  EXPECT_EQ(fresh(), Lines{});
  ASSERT_OK(meta_->fallocate(root_, file_, kFallocPunchHole | kFallocKeepSize, 5, 10));
  expect(fmt::format("FALLOCATE({},5,10,3)", f));
  const Ino copy = mkfile(dir_, "copy");
  (void)fresh();
  ASSERT_OK(meta_->copy_file_range(root_, file_, 1, copy, 1000, 20));
  expect(fmt::format("COPYFILERANGE({},1,{},1000,20):1020", f, raw(copy)));
  ASSERT_OK(meta_->copy_file_range(root_, file_, 500, copy, 1000, 20));
  EXPECT_EQ(fresh(), Lines{}) << "there was nothing to copy";
}

TEST_P(Log, compaction) {
  const Slice first = write(file_, 0, 0, 10);
  write(file_, 0, 5, 10);
  (void)fresh();
  auto compacted = meta_->compact_chunk(file_, 0);
  ASSERT_OK(compacted);
  ASSERT_TRUE(*compacted);
  meta_->drain_deletes();
  const auto lines = fresh();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_TRUE(lines[0].starts_with(fmt::format("COMPACTCHUNK({},0,0,2,0,", raw(file_)))) << lines[0];
  EXPECT_TRUE(lines[0].ends_with(",15)")) << lines[0];
  EXPECT_EQ(lines[1], fmt::format("DELETESLICE({},10)", raw(first.id)));
}

TEST_P(Log, locks) {
  const auto f = raw(file_);
  ASSERT_OK(meta_->flock(root_, file_, 77, LockType::kRead, false));
  ASSERT_OK(meta_->flock(root_, file_, 77, LockType::kWrite, false));
  ASSERT_OK(meta_->flock(root_, file_, 77, LockType::kUnlock, false));
  ASSERT_OK(meta_->flock(root_, file_, 77, LockType::kUnlock, false));
  EXPECT_EQ(fresh(), (Lines{fmt::format("FLOCK({},77,R)", f), fmt::format("FLOCK({},77,W)", f),
                            fmt::format("FLOCK({},77,U)", f)}));
  ASSERT_OK(meta_->setlk(root_, file_, 78, {LockType::kWrite, 99, 10, 20}, false));
  expect(fmt::format("SETLK({},78,W,10,20,99)", f));
  EXPECT_ERRNO(EAGAIN, meta_->setlk(root_, file_, 79, {LockType::kRead, 98, 15, 15}, false));
  ASSERT_OK(meta_->setlk(root_, file_, 78, {LockType::kUnlock, 0, 0, UINT64_MAX >> 1}, false));
  expect(fmt::format("SETLK({},78,U,0,9223372036854775807,0)", f));
}

TEST_P(Log, clones) {
  const Ino top = mkdir(kRootIno, "top"), sub = mkdir(top, "sub"), inner = mkfile(sub, "x");
  (void)fresh();
  ASSERT_OK(meta_->clone(root_, file_, kRootIno, "fc", true, 022, 1, nullptr, nullptr));
  expect(
      fmt::format("CLONE({},1,fc,{},2,18,true):{}", raw(file_), raw(find(kRootIno, "fc")), raw(find(kRootIno, "fc"))));
  ASSERT_OK(meta_->clone(root_, top, kRootIno, "copy", false, 022, 1, nullptr, nullptr));
  const auto made = raw(find(kRootIno, "copy"));
  const auto made_sub = raw(find(Ino{made}, "sub")), made_x = raw(find(Ino{made_sub}, "x"));
  auto lines = fresh();
  std::erase_if(lines, [](auto& line) { return line.starts_with("DIRSTAT("); });
  EXPECT_EQ(lines, (Lines{fmt::format("CLONE({0},1,copy,{1},0,18,true):{1}", raw(top), made),
                          fmt::format("CLONE({0},{1},sub,{2},0,18,false):{2}", raw(sub), made, made_sub),
                          fmt::format("CLONE({0},{1},x,{2},0,18,false):{2}", raw(inner), made_sub, made_x),
                          fmt::format("ATTACH({},1,copy)", made)}));
}

TEST_P(Log, quotas) {
  const auto d = raw(dir_);
  ASSERT_OK(meta_->set_quota(Meta::QuotaKind::kDirectory, d, 1 << 30, {}, false));
  auto lines = fresh();
  std::erase_if(lines, [](auto& line) { return line.starts_with("DIRSTAT("); });
  EXPECT_EQ(lines, (Lines{fmt::format("SETQUOTA(0,{},1073741824,-1)", d)}));
  ASSERT_OK(meta_->set_quota(Meta::QuotaKind::kGroup, 5, {}, 10, false));
  EXPECT_EQ(fresh(), (Lines{"INIT_ENABLE_USERGROUPQUOTA()", "SETQUOTA(2,5,-1,10)"}));
  ASSERT_OK(meta_->delete_quota(Meta::QuotaKind::kDirectory, d));
  ASSERT_OK(meta_->delete_quota(Meta::QuotaKind::kGroup, 5));
  EXPECT_EQ(fresh(), (Lines{fmt::format("DELQUOTA(0,{})", d), "DELQUOTA(2,5)"}));
}

TEST_P(Log, sessions_and_ids) {
  auto lines = meta_->engine().log_lines(1, 3).value();
  ASSERT_EQ(lines.size(), 3u);
  auto rest = [](const LogLine& line) { return line.text.substr(line.text.find('|') + 1); };
  EXPECT_EQ(rest(lines[0]), "INCR_COUNTER(nextSession,1)|(0,1)");
  EXPECT_TRUE(rest(lines[1]).starts_with("NEWSESSION(1,")) << rest(lines[1]);
  EXPECT_TRUE(rest(lines[1]).ends_with("|(1,2)")) << rest(lines[1]);
  EXPECT_NE(rest(lines[1]).find("%22HostName%22:%22test%22"), std::string::npos);
  auto other = client();
  const auto sid = other->session_id();
  ASSERT_OK(other->close_session());
  auto all = meta_->engine().log_lines(1, 1000).value();
  EXPECT_EQ(rest(all.back()),
            fmt::format("CLEANSESSION({})|({},{})", sid, sid, parse_log_line(all.back().text)->number));
  bool inodes = false;
  for (auto& line : all) inodes |= rest(line).starts_with("INCR_COUNTER(nextInode,1024)|(1,");
  EXPECT_TRUE(inodes);
}

TEST_P(Log, access_times_and_repairs) {
  Options options;
  options.atime = AtimeMode::kStrictAtime;
  auto reader = client(options);
  (void)fresh();
  clock_.advance(5000);
  ASSERT_OK(reader->open(root_, file_, 0));
  auto lines = meta_->engine().log_lines(next_, 10).value();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(parse_log_line(lines[0].text)->op, "ACCESS");
  EXPECT_EQ(parse_log_line(lines[0].text)->args, Lines{ino(file_)});
  ASSERT_OK(reader->close(file_));
  ASSERT_OK(reader->close_session());
  next_ = lines[0].version + 2;
}

TEST_P(Log, switched_on_and_off_while_clients_run) {
  auto other = client();
  change_format([](Format& format) { format.change_log = false; });
  ASSERT_OK(other->load());
  (void)fresh();
  ASSERT_OK(other->mkdir(root_, kRootIno, "a", 0755, 0));
  EXPECT_EQ(fresh(), Lines{});
  change_format([](Format& format) { format.change_log = true; });
  ASSERT_OK(other->load());
  ASSERT_OK(other->rmdir(root_, kRootIno, "a"));
  EXPECT_EQ(meta_->engine().log_lines(next_, 10)->size(), 1u);
  ASSERT_OK(other->close_session());
  next_ += 100;
}

TEST_P(Log, trimmed_by_age_and_number) {
  std::atomic<bool> stopping{false};
  for (int i = 0; i < 30; i++) {
    clock_.advance(60'000);
    mkdir(kRootIno, fmt::format("d{}", i));
  }
  auto& engine = meta_->engine();
  const auto begin = engine.log_range().value();
  ASSERT_OK(trim_change_log(meta_->state(), stopping));
  EXPECT_EQ(engine.log_range()->first, begin.first) << "no limits";
  change_format([](Format& format) { format.change_log_max_age = 600; });
  ASSERT_OK(trim_change_log(meta_->state(), stopping));
  auto lines = engine.log_lines(1, 1000).value();
  ASSERT_EQ(lines.size(), 11u);
  EXPECT_EQ(engine.log_range()->first, lines[0].version);
  EXPECT_EQ(parse_log_line(lines[0].text)->at.sec, clock_.now().sec - 600);
  change_format([](Format& format) { format.change_log_max_lines = 3; });
  ASSERT_OK(trim_change_log(meta_->state(), stopping));
  lines = engine.log_lines(1, 1000).value();
  EXPECT_LE(lines.size(), 3u);
  if (engine.info().name != "memkv") {
    EXPECT_EQ(lines.size(), 3u);
  }
  // Later lines go on with the versions.
  const auto last = engine.log_range()->last;
  EXPECT_EQ(last, begin.last);
  mkdir(kRootIno, "more");
  EXPECT_GT(engine.log_range()->last, last);
  clock_.advance(3'600'000);
  ASSERT_OK(trim_change_log(meta_->state(), stopping));
  EXPECT_TRUE(engine.log_lines(1, 1000)->empty());
}

// Many clients at once: every change has its line, in the order in which the changes took effect.
TEST_P(Log, lines_are_in_the_order_of_the_changes) {
  constexpr int kThreads = 4, kRounds = 25;
  std::vector<std::unique_ptr<Meta>> clients;
  for (int i = 0; i < kThreads; i++) clients.push_back(client());
  (void)fresh();
  std::vector<std::thread> threads;
  for (auto& one : clients)
    threads.emplace_back([&, meta = one.get()] {
      for (int i = 0; i < kRounds; i++) {
        (void)meta->mkdir(root_, kRootIno, "contended", 0755, 0);
        (void)meta->rmdir(root_, kRootIno, "contended");
      }
    });
  for (auto& thread : threads) thread.join();
  bool there = false;
  size_t changes = 0;
  const auto lines = meta_->engine().log_lines(next_, 100'000);
  ASSERT_OK(lines);
  for (auto& line : *lines) {
    const auto entry = parse_log_line(line.text);
    ASSERT_TRUE(entry);
    const bool made = entry->op == "CREATE", removed = entry->op == "RMDIR";
    if (!made && !removed) continue;
    ASSERT_EQ(there, removed) << line.text;
    there = made;
    changes++;
  }
  EXPECT_GT(changes, 2u);
  for (auto& one : clients) ASSERT_OK(one->close_session());
  if (there) {
    ASSERT_OK(meta_->rmdir(root_, kRootIno, "contended"));
  }
}

}  // namespace
}  // namespace zest::conformance
