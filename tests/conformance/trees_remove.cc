// Recursive removal and what the clean-up jobs remove: sections 10.5, 11, 12.3, 13 of semantics.md.
#include "trees_common.h"

namespace zest::conformance {
namespace {

using meta::Key;
using meta::Table;
using meta::Txn;

class Removal : public Trees {};
ON_EVERY_ENGINE(Removal);

TEST_P(Removal, a_tree_goes_for_good) {
  make_tree();
  std::atomic<uint64_t> removed{0};
  EXPECT_OK(meta_->remove_tree(root_, kRootIno, "t", false, 10, &removed));
  EXPECT_EQ(kTreeFiles + kTreeDirs, removed);
  EXPECT_EQ(Ino{0}, find(kRootIno, "t"));
  meta_->drain_deletes();
  EXPECT_OK(meta_->flush_ledgers());
  EXPECT_EQ(1u, rows(Table::kInodes)) << "only the root is left";
  EXPECT_EQ(0u, rows(Table::kEntries));
}

TEST_P(Removal, other_things_than_directories) {
  mkfile(kRootIno, "f");
  std::atomic<uint64_t> removed{0};
  EXPECT_OK(meta_->remove_tree(root_, kRootIno, "f", false, 10, &removed));
  EXPECT_EQ(1u, removed);
  EXPECT_ERRNO(ENOENT, meta_->remove_tree(root_, kRootIno, "f", false, 10, nullptr));
}

TEST_P(Removal, permission_is_needed_all_the_way) {
  const Ino top = mkdir(kRootIno, "t", 0777), closed = mkdir(top, "closed", 0755);
  mkfile(closed, "f");
  EXPECT_ERRNO(EACCES, meta_->remove_tree(user(1001), top, "closed", false, 10, nullptr));
  EXPECT_NE(Ino{0}, find(closed, "f"));
}

TEST_P(Removal, wide_and_deep) {
  const Ino wide = mkdir(kRootIno, "wide");
  for (int i = 0; i < 1500; i++) mkfile(wide, "f" + std::to_string(i));
  Ino deep = wide;
  for (int i = 0; i < 60; i++) deep = mkdir(deep, "d");
  mkfile(deep, "f");
  std::atomic<uint64_t> removed{0};
  EXPECT_OK(meta_->remove_tree(root_, kRootIno, "wide", true, 4, &removed));
  EXPECT_EQ(1500u + 60 + 1 + 1, removed);
  EXPECT_EQ(Ino{0}, find(kRootIno, "wide"));
}

class Trashed : public Trees {
 protected:
  void choose(Format& format) override { format.trash_days = 1; }
};
ON_EVERY_ENGINE(Trashed);

TEST_P(Trashed, a_removed_tree_lies_flat_in_the_trash) {
  make_tree();
  EXPECT_OK(meta_->remove_tree(root_, kRootIno, "t", false, 10, nullptr));
  EXPECT_EQ(kTreeFiles + kTreeDirs, names(hour_dir()).size());
  // Emptied by hand: one pass, the hour stays.
  std::atomic<uint64_t> removed{0};
  EXPECT_ERRNO(EPERM, meta_->remove_tree(user(1001), kRootIno, ".trash", false, 10, nullptr));
  EXPECT_OK(meta_->remove_tree(root_, kRootIno, ".trash", false, 10, &removed));
  EXPECT_EQ(kTreeFiles + kTreeDirs, removed);
  EXPECT_NE(Ino{0}, hour_dir());
  EXPECT_TRUE(names(hour_dir()).empty());
}

TEST_P(Trashed, skipped_when_asked) {
  make_tree();
  EXPECT_OK(meta_->remove_tree(root_, kRootIno, "t", true, 10, nullptr));
  EXPECT_EQ(Ino{0}, hour_dir());
}

TEST_P(Trashed, expires) {
  make_tree();
  EXPECT_OK(meta_->remove_tree(root_, kRootIno, "t", false, 10, nullptr));
  const Ino first = hour_dir();
  clock_.advance(2 * 3600'000);
  mkfile(kRootIno, "later");
  EXPECT_OK(meta_->unlink(root_, kRootIno, "later"));
  const Ino second = hour_dir();
  ASSERT_NE(first, second);
  clock_.advance(24 * 3600'000);
  const int64_t edge = clock_.now().sec - 25 * 3600;
  auto removed = meta_->clean_trash(edge);
  ASSERT_OK(removed);
  EXPECT_EQ(kTreeFiles + kTreeDirs + 1, *removed);
  EXPECT_FALSE(stored_attr(first));
  EXPECT_EQ(1u, names(second).size());
  EXPECT_EQ(0u, *meta_->clean_trash(edge));
  clock_.advance(2 * 3600'000);
  EXPECT_EQ(2u, *meta_->clean_trash(clock_.now().sec - 25 * 3600));
  EXPECT_EQ(0u, rows(Table::kEntries));
}

// The client that removed a directory still had changes to write for its statistics when another one brings it back.
TEST_P(Trashed, what_waits_for_a_removed_directory_is_forgotten) {
  const Ino dir = mkdir(kRootIno, "d"), file = mkfile(dir, "f");
  EXPECT_OK(meta_->flush_ledgers());
  EXPECT_OK(meta_->remove_tree(root_, kRootIno, "d", false, 1, nullptr));
  auto other = client();
  const Ino hour = hour_dir();
  auto back = [&](Ino parent, Ino ino, const std::string& name, Ino to) {
    EXPECT_OK(other->rename(root_, hour, trash_entry_name(parent, ino, name), to, name, 0));
  };
  back(kRootIno, dir, "d", kRootIno);
  back(dir, file, "f", dir);
  EXPECT_OK(other->close_session());
  EXPECT_OK(meta_->flush_ledgers());
  ASSERT_TRUE(stored_stat(dir));
  EXPECT_EQ(1, stored_stat(dir)->inodes);
}

TEST_P(Trashed, this_hour_is_emptied_but_stays) {
  mkfile(kRootIno, "1");
  EXPECT_OK(meta_->unlink(root_, kRootIno, "1"));
  const Ino hour = hour_dir();
  EXPECT_EQ(1u, *meta_->clean_trash(clock_.now().sec + 1));
  EXPECT_TRUE(names(hour).empty());
  // A client that has it in mind can still use it.
  const Ino next = mkfile(kRootIno, "2");
  EXPECT_OK(meta_->unlink(root_, kRootIno, "2"));
  EXPECT_EQ(next, find_trashed(kRootIno, next, "2"));
}

class Cleaning : public Trees {};
ON_EVERY_ENGINE(Cleaning);

TEST_P(Cleaning, deleted_files_of_others) {
  const int64_t now = clock_.now().sec;
  put([&](Txn& txn) {
    txn.append(Ino{500}, 0, encode_slices({Slice{0, SliceId{900}, 10, 0, 10}}));
    txn.append(Ino{500}, 3, encode_slices({Slice{0, SliceId{901}, 10, 0, 10}}));
    txn.new_slice(SliceId{900}, 10);
    txn.new_slice(SliceId{901}, 10);
    txn.put(Key::del_file(Ino{500}, 10), now - 4000);
    txn.append(Ino{501}, 0, encode_slices({Slice{0, SliceId{902}, 10, 0, 10}}));
    txn.new_slice(SliceId{902}, 10);
    txn.put(Key::del_file(Ino{501}, 10), now - 100);
  });
  auto removed = meta_->clean_deleted_files(3600);
  ASSERT_OK(removed);
  EXPECT_EQ(1u, *removed);
  meta_->drain_deletes();
  EXPECT_TRUE(data_.was_deleted(SliceId{900}));
  EXPECT_TRUE(data_.was_deleted(SliceId{901})) << "beyond the recorded length";
  EXPECT_FALSE(data_.was_deleted(SliceId{902})) << "too young";
  EXPECT_EQ(1u, rows(Table::kDelFiles));
  EXPECT_EQ(1u, *meta_->clean_deleted_files(0));
  EXPECT_EQ(0u, rows(Table::kDelFiles));
  EXPECT_EQ(0u, rows(Table::kChunks));
}

TEST_P(Cleaning, slices_without_references) {
  verify_at_end_ = false;  // nothing refers to these slices
  put([&](Txn& txn) {
    txn.put(Key::slice_ref(SliceId{900}, 10), int64_t{0});
    txn.put(Key::slice_ref(SliceId{901}, 10), int64_t{2});
    txn.put(Key::slice_ref(SliceId{902}, 10), int64_t{1});
  });
  auto removed = meta_->clean_slices();
  ASSERT_OK(removed);
  EXPECT_EQ(1u, *removed);
  EXPECT_TRUE(data_.was_deleted(SliceId{900}));
  EXPECT_FALSE(data_.was_deleted(SliceId{901}));
  EXPECT_FALSE(data_.was_deleted(SliceId{902}));
  EXPECT_EQ(meta_->engine().absent_ref() == 1 ? 1u : 2u, rows(Table::kSliceRefs));
}

TEST_P(Cleaning, delayed_slices) {
  verify_at_end_ = false;  // nothing refers to these slices
  const int64_t now = clock_.now().sec;
  put([&](Txn& txn) {
    for (uint64_t id : {900, 901, 902}) txn.new_slice(SliceId{id}, 10);
    txn.add(Key::slice_ref(SliceId{901}, 10), 1);
    txn.put(Key::del_slices(SliceId{950}, now - 100'000), encode_slice_keys({{SliceId{900}, 10}, {SliceId{901}, 10}}));
    txn.put(Key::del_slices(SliceId{951}, now - 10), encode_slice_keys({{SliceId{902}, 10}}));
  });
  std::map<uint64_t, bool> seen;
  EXPECT_OK(meta_->scan_slices([&](const Meta::SliceUse& use) {
    seen[raw(use.id)] = use.state == Meta::SliceState::kDelayed;
    return true;
  }));
  EXPECT_EQ((std::map<uint64_t, bool>{{900, true}, {901, true}, {902, true}}), seen);
  auto removed = meta_->clean_delayed_slices(now - 86400);
  ASSERT_OK(removed);
  EXPECT_EQ(2u, *removed);
  meta_->drain_deletes();
  EXPECT_TRUE(data_.was_deleted(SliceId{900}));
  EXPECT_FALSE(data_.was_deleted(SliceId{901})) << "something else refers to it";
  EXPECT_FALSE(data_.was_deleted(SliceId{902})) << "too young";
  EXPECT_EQ(1u, rows(Table::kDelSlicesTable));
}

TEST_P(Cleaning, chunks_are_listed_with_their_records) {
  const Ino file = mkfile(kRootIno, "f");
  const SliceId id = write(file, 1, 100);
  size_t chunks = 0;
  EXPECT_OK(meta_->scan_chunks([&](Ino ino, ChunkIndex index, const std::vector<Slice>& slices) {
    chunks++;
    EXPECT_EQ(file, ino);
    EXPECT_EQ(1u, index);
    EXPECT_EQ((std::vector{Slice{0, id, 100, 0, 100}}), slices);
    return true;
  }));
  EXPECT_EQ(1u, chunks);
}

}  // namespace
}  // namespace zest::conformance
