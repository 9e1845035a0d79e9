// Sums over trees: section 10.3 of semantics.md.
#include "trees_common.h"

namespace zest::conformance {
namespace {

class Summaries : public Trees {
 protected:
  void expect(const meta::Summary& sum, uint64_t length, uint64_t space, uint64_t files, uint64_t dirs) {
    EXPECT_EQ(length, sum.length);
    EXPECT_EQ(space, sum.space);
    EXPECT_EQ(files, sum.files);
    EXPECT_EQ(dirs, sum.dirs);
  }
};
ON_EVERY_ENGINE(Summaries);

TEST_P(Summaries, both_ways_agree) {
  const Ino top = make_tree();
  for (bool strict : {false, true}) {
    std::atomic<uint64_t> progress{0};
    auto sum = meta_->summary(root_, top, true, strict, &progress);
    ASSERT_OK(sum);
    expect(*sum, kTreeLength, kTreeSpace, kTreeFiles, kTreeDirs);
    EXPECT_LT(0u, progress);
  }
}

TEST_P(Summaries, one_level) {
  const Ino top = make_tree();
  for (bool strict : {false, true}) {
    auto sum = meta_->summary(root_, top, false, strict);
    ASSERT_OK(sum);
    expect(*sum, 10'000, 4096 + 2 * 8192 + 2 * 4096 + 2 * 4096, 4, 3);
  }
}

TEST_P(Summaries, of_something_else) {
  const Ino file = mkfile(kRootIno, "f"), link = mksymlink(kRootIno, "l", "0123456789");
  grow(file, 5000);
  expect(*meta_->summary(root_, file, true, true), 5000, 8192, 1, 0);
  expect(*meta_->summary(root_, link, true, true), 0, 4096, 1, 0);
  EXPECT_ERRNO(ENOENT, meta_->summary(root_, Ino{99999}, true, true));
}

TEST_P(Summaries, what_was_not_flushed_counts) {
  const Ino dir = mkdir(kRootIno, "d");
  grow(mkfile(dir, "f"), 100'000);
  auto sum = meta_->summary(root_, dir, true, false);
  ASSERT_OK(sum);
  expect(*sum, 100'000, 102'400 + 4096, 1, 1);
}

TEST_P(Summaries, missing_and_negative_statistics_are_made_anew) {
  const Ino top = make_tree(), sub = find(top, "sub");
  EXPECT_OK(meta_->flush_ledgers());
  put([&](meta::Txn& txn) {
    txn.erase(meta::Key::dir_stat(top));
    txn.put(meta::Key::dir_stat(sub), DirStat{-1, -4096, -1});
  });
  auto sum = meta_->summary(root_, top, true, false);
  ASSERT_OK(sum);
  expect(*sum, kTreeLength, kTreeSpace, kTreeFiles, kTreeDirs);
  EXPECT_EQ(*stored_stat(sub), (DirStat{70 << 20, (70 << 20) + 4096, 2}));
  EXPECT_TRUE(stored_stat(top));
}

TEST_P(Summaries, without_statistics) {
  change_format([](Format& format) { format.dir_stats = false; });
  put([](meta::Txn& txn) { txn.erase(meta::Key::dir_stat(kRootIno)); });
  auto sum = meta_->summary(root_, make_tree(), true, false);
  ASSERT_OK(sum);
  expect(*sum, kTreeLength, kTreeSpace, kTreeFiles, kTreeDirs);
}

TEST_P(Summaries, cancelled) {
  const Ino top = make_tree();
  const std::atomic<bool> cancelled{true};
  Context context;
  context.cancelled = &cancelled;
  EXPECT_ERRNO(EINTR, meta_->summary(context, top, true, true));
}

TEST_P(Summaries, tree_ranks_children) {
  const Ino top = make_tree();
  for (bool strict : {false, true}) {
    auto tree = meta_->tree_summary(root_, top, 2, 3, strict);
    ASSERT_OK(tree);
    EXPECT_EQ(kTreeSpace, tree->size);
    EXPECT_EQ(kTreeFiles, tree->files);
    EXPECT_EQ(kTreeDirs, tree->dirs);
    std::vector<std::string> paths;
    for (const auto& child : tree->children) paths.push_back(child.path);
    EXPECT_EQ((std::vector<std::string>{"sub", "a", "link", "..."}), paths);
    const auto& sub = tree->children[0];
    EXPECT_EQ(FileType::kDirectory, sub.type);
    EXPECT_EQ(uint64_t{(70 << 20) + 4096 * 3}, sub.size);
    EXPECT_EQ(2u, sub.files);
    EXPECT_EQ(2u, sub.dirs);
    ASSERT_EQ(2u, sub.children.size());
    EXPECT_EQ("sub/b", sub.children[0].path);
    EXPECT_EQ("sub/deep", sub.children[1].path);
    EXPECT_EQ(8192u, sub.children[1].size);
    EXPECT_EQ(1u, sub.children[1].files);
    EXPECT_TRUE(sub.children[1].children.empty());
    const auto& rest = tree->children[3];
    EXPECT_EQ(FileType::kFile, rest.type);
    EXPECT_EQ(3 * 4096u, rest.size);
    EXPECT_EQ(2u, rest.files);
    EXPECT_EQ(1u, rest.dirs);
    auto flat = meta_->tree_summary(root_, top, 0, 3, strict);
    ASSERT_OK(flat);
    EXPECT_EQ(kTreeSpace, flat->size);
    EXPECT_EQ(kTreeFiles, flat->files);
    EXPECT_TRUE(flat->children.empty());
  }
}

TEST_P(Summaries, wide_directories_come_in_pages) {
  const Ino dir = mkdir(kRootIno, "wide");
  for (int i = 0; i < 2500; i++) mkfile(dir, "f" + std::to_string(i));
  for (int i = 0; i < 30; i++) mkfile(mkdir(dir, "d" + std::to_string(i)), "x");
  auto sum = meta_->summary(root_, dir, true, true);
  ASSERT_OK(sum);
  expect(*sum, 0, 2561 * 4096, 2530, 31);
  auto tree = meta_->tree_summary(root_, dir, 1, 2, true);
  ASSERT_OK(tree);
  EXPECT_EQ(2561u * 4096, tree->size);
  ASSERT_EQ(3u, tree->children.size());
  EXPECT_EQ(8192u, tree->children[0].size);
  EXPECT_EQ(2528u, tree->children[2].files);
  EXPECT_EQ(28u, tree->children[2].dirs);
}

}  // namespace
}  // namespace zest::conformance
