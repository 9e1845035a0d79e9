#include "meta/open_files.h"

#include <gtest/gtest.h>

#include <array>

namespace zest::meta {
namespace {

constexpr Ino kFile{7};

Attr at(int64_t sec) {
  Attr attr;
  attr.mtime.sec = sec;
  return attr;
}

std::shared_ptr<ChunkView> view() { return std::make_shared<ChunkView>(); }

TEST(OpenFiles, counts_references) {
  OpenFiles files;
  EXPECT_FALSE(files.is_open(kFile));
  files.open(kFile, at(1), 0);
  files.open(kFile, at(1), 0);
  EXPECT_FALSE(files.close(kFile));
  EXPECT_TRUE(files.is_open(kFile));
  EXPECT_TRUE(files.close(kFile));
  EXPECT_FALSE(files.is_open(kFile));
  EXPECT_FALSE(files.close(kFile));
}

TEST(OpenFiles, pages_are_kept_only_if_the_file_is_as_it_was) {
  OpenFiles files;
  EXPECT_FALSE(files.open(kFile, at(1), 0));
  EXPECT_TRUE(files.open(kFile, at(1), 0));
  EXPECT_FALSE(files.open(kFile, at(2), 0));
  // own changes count as known ...
  files.changed_here(kFile, at(2), at(3), {}, 0);
  EXPECT_TRUE(files.open(kFile, at(3), 0));
  // ... but not on top of somebody else's
  files.changed_here(kFile, at(4), at(5), {}, 0);
  EXPECT_FALSE(files.open(kFile, at(5), 0));
}

TEST(OpenFiles, attributes_age) {
  OpenFiles files;
  files.open(kFile, at(1), 1000);
  EXPECT_TRUE(files.attr(kFile, 1500, 1000));
  EXPECT_FALSE(files.attr(kFile, 2000, 1000));
  files.forget_attr(kFile);
  EXPECT_FALSE(files.attr(kFile, 1500, 1000));
}

TEST(OpenFiles, views_live_until_the_mtime_differs) {
  OpenFiles files;
  files.open(kFile, at(1), 0);
  files.keep_chunk(kFile, 0, view(), files.version(kFile));
  files.update(kFile, at(1), 5);
  EXPECT_TRUE(files.chunk(kFile, 0));
  files.update(kFile, at(2), 6);
  EXPECT_FALSE(files.chunk(kFile, 0));
}

TEST(OpenFiles, a_view_read_before_a_change_is_not_kept) {
  OpenFiles files;
  files.open(kFile, at(1), 0);
  uint64_t before = files.version(kFile);
  files.forget_chunk(kFile, 3);
  files.keep_chunk(kFile, 3, view(), before);
  EXPECT_FALSE(files.chunk(kFile, 3));
  // nor one from before the entry was dropped and made again
  before = files.version(kFile);
  files.close(kFile);
  files.trim(0, 0);
  files.trim(int64_t{13} * 3600 * 1000, 0);
  files.open(kFile, at(1), 0);
  files.keep_chunk(kFile, 3, view(), before);
  EXPECT_FALSE(files.chunk(kFile, 3));
}

TEST(OpenFiles, own_change_drops_only_its_chunks) {
  OpenFiles files;
  files.open(kFile, at(1), 0);
  for (ChunkIndex i : {0, 1, 2}) files.keep_chunk(kFile, i, view(), files.version(kFile));
  std::array<ChunkIndex, 1> changed{1};
  files.changed_here(kFile, at(1), at(2), changed, 0);
  EXPECT_TRUE(files.chunk(kFile, 0));
  EXPECT_FALSE(files.chunk(kFile, 1));
  files.update(kFile, at(2), 0);
  EXPECT_TRUE(files.chunk(kFile, 2));
  files.changed_here(kFile, at(2), at(3), {}, 0);
  EXPECT_FALSE(files.chunk(kFile, 0));
}

TEST(OpenFiles, sustained_at_the_last_close) {
  OpenFiles files;
  EXPECT_FALSE(files.mark_sustained(kFile));
  files.open(kFile, at(1), 0);
  files.open(kFile, at(1), 0);
  EXPECT_TRUE(files.mark_sustained(kFile));
  bool sustained = true;
  files.close(kFile, &sustained);
  EXPECT_FALSE(sustained);
  EXPECT_TRUE(files.close(kFile, &sustained));
  EXPECT_TRUE(sustained);
  files.open(kFile, at(1), 0);
  files.mark_sustained(kFile);
  EXPECT_TRUE(files.take_sustained(kFile));
  EXPECT_FALSE(files.take_sustained(kFile));
  files.close(kFile, &sustained);
  EXPECT_FALSE(sustained);
}

TEST(OpenFiles, what_was_read_for_opening_counts_unless_it_changed_meanwhile) {
  OpenFiles files;
  const uint64_t version = files.expect(kFile);
  EXPECT_FALSE(files.is_open(kFile));
  EXPECT_FALSE(files.open(kFile, at(0), 100, version, view())) << "it was never open before";
  EXPECT_TRUE(files.chunk(kFile, 0));
  EXPECT_TRUE(files.attr_at_open(kFile, 149, 50));
  EXPECT_FALSE(files.attr_at_open(kFile, 150, 50));
  files.forget_attr(kFile);
  EXPECT_FALSE(files.attr_at_open(kFile, 100, 50));

  const uint64_t before = files.expect(kFile);
  files.changed_here(kFile, at(0), at(2), {}, 100);
  files.open(kFile, at(2), 100, before, view());
  EXPECT_FALSE(files.chunk(kFile, 0)) << "read before this client's change";
  EXPECT_FALSE(files.attr_at_open(kFile, 100, 50));
  files.open(kFile, at(2), 100);
  EXPECT_FALSE(files.attr_at_open(kFile, 100, 50)) << "nobody knows when it was read";

  // newer ones than the opening's, from elsewhere
  files.open(kFile, at(2), 100, files.expect(kFile));
  Attr attr = at(2);
  attr.mode = 0600;
  files.update(kFile, attr, 110);
  EXPECT_EQ(files.attr_at_open(kFile, 110, 50), attr);
}

TEST(OpenFiles, trim_drops_what_is_closed_longest_while_crowded) {
  OpenFiles files;
  for (uint64_t i = 1; i <= 10; i++) {
    files.open(Ino{i}, at(1), static_cast<int64_t>(i));
    if (i != 1) files.close(Ino{i});
  }
  files.trim(100, 5);
  EXPECT_EQ(files.version(Ino{2}), 0u);
  EXPECT_NE(files.version(Ino{1}), 0u);  // open
  EXPECT_NE(files.version(Ino{10}), 0u);
}

}  // namespace
}  // namespace zest::meta
