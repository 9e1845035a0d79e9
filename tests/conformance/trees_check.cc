// fsck of directories and counters on damaged volumes: section 10.6 of semantics.md.
#include "trees_common.h"

namespace zest::conformance {
namespace {

using meta::Key;
using meta::Table;
using meta::Txn;

class Checks : public Trees {
 protected:
  std::vector<meta::Problem> check(const std::string& path, bool repair, bool recursive = true, bool sync = true) {
    auto found = meta_->check(root_, path, {.repair = repair, .recursive = recursive, .sync_stats = sync});
    EXPECT_TRUE(found) << found.error().message();
    return found.value_or(std::vector<meta::Problem>{});
  }
  void expect_one(const std::vector<meta::Problem>& problems, const std::string& path, const std::string& part,
                  bool repaired) {
    ASSERT_EQ(1u, problems.size());
    EXPECT_EQ(path, problems[0].path);
    EXPECT_NE(std::string::npos, problems[0].what.find(part)) << problems[0].what;
    EXPECT_EQ(repaired, problems[0].repaired);
  }
  void SetUp() override {
    Trees::SetUp();
    if (!meta_) return;
    top_ = make_tree();
    sub_ = find(top_, "sub");
    ASSERT_OK(meta_->flush_ledgers());
  }
  Ino top_{0}, sub_{0};
};
ON_EVERY_ENGINE(Checks);

TEST_P(Checks, a_sound_volume) {
  std::atomic<uint64_t> progress{0};
  auto found = meta_->check(root_, "/", {.recursive = true, .sync_stats = true, .progress = &progress});
  ASSERT_OK(found);
  EXPECT_TRUE(found->empty()) << (*found)[0].path << ": " << (*found)[0].what;
  EXPECT_EQ(kTreeDirs + 1, progress);
  EXPECT_TRUE(check("/", true).empty());
  EXPECT_ERRNO(ENOTDIR, meta_->check(root_, "/t/a", {}));
  EXPECT_ERRNO(ENOENT, meta_->check(root_, "/none", {}));
}

TEST_P(Checks, unflushed_changes_are_no_damage) {
  mkfile(sub_, "new");
  mkdir(sub_, "newdir");
  EXPECT_TRUE(check("/", false).empty());
}

TEST_P(Checks, wrong_nlink) {
  Attr damaged = attr(sub_);
  damaged.nlink = 17;
  put([&](Txn& txn) { txn.put_attr(sub_, damaged); });
  expect_one(check("/t/sub", false, false, false), "/t/sub", "should be 3, but is 17", false);
  expect_one(check("//t/", false), "/t/sub", "should be 3, but is 17", false);
  EXPECT_TRUE(check("/t", false, false).empty()) << "not recursive";
  expect_one(check("/", true), "/t/sub", "should be 3, but is 17", true);
  EXPECT_EQ(3u, attr(sub_).nlink);
  EXPECT_TRUE(check("/", false).empty());
}

TEST_P(Checks, directory_without_attributes) {
  put([&](Txn& txn) { txn.erase(Key::inode(sub_)); });
  expect_one(check("/t", false), "/t/sub", "are missing", false);
  auto problems = check("/t", true);
  expect_one(problems, "/t/sub", "are missing", true);
  const Attr made = attr(sub_);
  EXPECT_EQ(0755, made.mode);
  EXPECT_EQ(3u, made.nlink);
  EXPECT_EQ(top_, made.parent);
  EXPECT_EQ(4096u, made.length);
  EXPECT_TRUE(check("/", false).empty());
  // The directory itself was asked for.
  put([&](Txn& txn) { txn.erase(Key::inode(sub_)); });
  auto direct = meta_->check(root_, "/t/sub", {.repair = true});
  if (!direct) {
    EXPECT_ERRNO(ENOENT, direct) << "an engine that joins entries with inodes does not show it";
    EXPECT_EQ(1u, check("/t", true).size());
  }
  EXPECT_EQ(top_, attr(sub_).parent);
}

TEST_P(Checks, entry_without_inode) {
  const Ino empty = mkfile(sub_, "empty"), full = mkfile(sub_, "full");
  write(full, 1, 100);
  const uint64_t length = attr(full).length;
  ASSERT_OK(meta_->flush_ledgers());
  put([&](Txn& txn) {
    txn.erase(Key::inode(empty));
    txn.erase(Key::inode(full));
  });
  auto seen = check("/t/sub", false, true, false);
  EXPECT_EQ(2u, seen.size());
  for (auto& problem : seen) EXPECT_FALSE(problem.repaired);
  EXPECT_EQ(2u, check("/t/sub", true, true, false).size());
  EXPECT_ERRNO(ENOENT, meta_->lookup(root_, sub_, "empty")) << "nothing was left of it";
  EXPECT_EQ(full, find(sub_, "full"));
  EXPECT_EQ(length, attr(full).length) << "made anew from its slices";
  EXPECT_EQ(sub_, attr(full).parent);
  check("/", true);  // statistics and counters
  EXPECT_TRUE(check("/", false).empty());
}

TEST_P(Checks, inode_without_entry) {
  const Ino file = mkfile(sub_, "lost"), dir = mkdir(sub_, "lostdir"), inside = mkfile(dir, "inside");
  auto open = meta_->create(root_, sub_, "open", 0644, 0, true, 2);
  ASSERT_OK(open);
  EXPECT_OK(meta_->unlink(root_, sub_, "open"));
  ASSERT_OK(meta_->flush_ledgers());
  put([&](Txn& txn) {
    txn.erase(Key::entry(sub_, "lost"));
    txn.erase(Key::entry(sub_, "lostdir"));
  });
  auto named = [](const std::vector<meta::Problem>& problems) {
    return std::count_if(problems.begin(), problems.end(),
                         [](auto& problem) { return problem.what.find("has no entry") != std::string::npos; });
  };
  EXPECT_EQ(2, named(check("/", false))) << "an open file without a name is no damage";
  EXPECT_EQ(2, named(check("/", true)));
  const Ino found = find(kRootIno, "lost+found");
  EXPECT_EQ(file, find(found, std::to_string(raw(file))));
  EXPECT_EQ(dir, find(found, std::to_string(raw(dir))));
  EXPECT_EQ(inside, find(dir, "inside"));
  EXPECT_EQ(3u, attr(found).nlink);
  EXPECT_TRUE(check("/", false).empty());
  EXPECT_OK(meta_->close(open->entry.ino));
  meta_->drain_deletes();
}

TEST_P(Checks, statistics) {
  const DirStat right = *stored_stat(sub_);
  put([&](Txn& txn) { txn.put(Key::dir_stat(sub_), DirStat{right.length, right.space + 4096, right.inodes}); });
  EXPECT_TRUE(check("/", false, true, false).empty()) << "only compared when asked to";
  expect_one(check("/", false), "/t/sub", "do not match", false);
  expect_one(check("/", true), "/t/sub", "do not match", true);
  EXPECT_EQ(right, *stored_stat(sub_));

  put([&](Txn& txn) { txn.put(Key::dir_stat(sub_), DirStat{-1, 0, 0}); });
  expect_one(check("/", true, true, false), "/t/sub", "negative", true);
  EXPECT_EQ(right, *stored_stat(sub_));
  put([&](Txn& txn) { txn.erase(Key::dir_stat(sub_)); });
  expect_one(check("/", true, true, false), "/t/sub", "missing", true);
  EXPECT_EQ(right, *stored_stat(sub_));
}

TEST_P(Checks, volume_counters) {
  auto fine = meta_->recount(false, nullptr);
  ASSERT_OK(fine);
  EXPECT_EQ(fine->stored_space, fine->used_space);
  EXPECT_EQ(fine->stored_inodes, fine->total_inodes);
  put([&](Txn& txn) {
    txn.put(Key::counter(meta::counter::kUsedSpace), int64_t{-5});
    txn.put(Key::counter(meta::counter::kTotalInodes), int64_t{1000});
  });
  auto wrong = meta_->recount(false, nullptr);
  ASSERT_OK(wrong);
  EXPECT_EQ(-5, wrong->stored_space);
  EXPECT_EQ(1000, wrong->stored_inodes);
  EXPECT_EQ(fine->used_space, wrong->used_space);
  expect_one(check("/", true), "/", "counters", true);
  EXPECT_TRUE(check("/", true).empty());
  EXPECT_EQ(fine->used_space, meta_->state().ledger.used().first);
}

TEST_P(Checks, recount_counts_what_has_no_name) {
  auto made = meta_->create(root_, kRootIno, "open", 0644, 0, true, 2);
  ASSERT_OK(made);
  EXPECT_OK(meta_->unlink(root_, kRootIno, "open"));
  auto counted = meta_->recount(false, nullptr);
  ASSERT_OK(counted);
  EXPECT_EQ(counted->stored_inodes, counted->total_inodes);
  EXPECT_OK(meta_->close(made->entry.ino));
  meta_->drain_deletes();
}

class DirStats : public Trees {};
ON_EVERY_ENGINE(DirStats);

TEST_P(DirStats, of_the_root_exist_from_the_first_mount) { EXPECT_EQ((DirStat{}), stored_stat(kRootIno)); }

TEST_P(DirStats, a_missing_record_is_counted_at_the_flush) {
  const Ino dir = mkdir(kRootIno, "d");
  grow(mkfile(dir, "f"), 5000);
  ASSERT_OK(meta_->flush_ledgers());
  put([&](Txn& txn) { txn.erase(Key::dir_stat(dir)); });
  mkfile(dir, "g");
  ASSERT_OK(meta_->flush_ledgers());
  EXPECT_EQ((DirStat{5000, 8192 + 4096, 2}), stored_stat(dir));
}

TEST_P(DirStats, reading_mends_negative_ones) {
  const Ino dir = mkdir(kRootIno, "d");
  grow(mkfile(dir, "f"), 5000);
  ASSERT_OK(meta_->flush_ledgers());
  put([&](Txn& txn) { txn.put(Key::dir_stat(dir), DirStat{0, -4096, -1}); });
  EXPECT_EQ((DirStat{5000, 8192, 1}), *meta_->dir_stat(dir));
  EXPECT_EQ((DirStat{5000, 8192, 1}), stored_stat(dir));
  EXPECT_ERRNO(ENOTDIR, meta_->dir_stat(find(dir, "f")));
}

TEST_P(DirStats, many_directories_in_one_flush) {
  std::vector<Ino> dirs;
  for (int i = 0; i < 150; i++) {
    dirs.push_back(mkdir(kRootIno, "d" + std::to_string(i)));
    mkfile(dirs.back(), "f");
  }
  ASSERT_OK(meta_->flush_ledgers());
  for (Ino dir : dirs) EXPECT_EQ((DirStat{0, 4096, 1}), stored_stat(dir));
}

}  // namespace
}  // namespace zest::conformance
