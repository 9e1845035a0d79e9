// Clones: section 10.4 of semantics.md. The fixture recounts everything at the end of each test.
#include <thread>

#include "trees_common.h"

namespace zest::conformance {
namespace {

using meta::Key;
using meta::Table;
using meta::Txn;

class Clones : public Trees {
 protected:
  Result<void> clone(Ino src, const std::string& name, bool preserve = true, const Context& context = {},
                     Ino parent = kRootIno) {
    return meta_->clone(context, src, parent, name, preserve, 022, 4, &done_, &total_);
  }
  int64_t counter(const char* name) {
    EXPECT_OK(meta_->flush_ledgers());
    int64_t value = 0;
    EXPECT_OK(meta_->state().read([&](Txn& txn) -> Result<void> {
      auto found = txn.counter(name);
      if (!found) return fail(std::move(found.error()));
      value = *found;
      return {};
    }));
    return value;
  }
  std::vector<std::string> chunks(Ino ino) {
    std::vector<std::string> all;
    EXPECT_OK(meta_->engine().scan(Table::kChunks, raw(ino), [&](const Key& key, const meta::Value& value) {
      if (key.a == raw(ino)) all.push_back(std::to_string(key.b) + ":" + std::get<std::string>(value));
      return true;
    }));
    std::sort(all.begin(), all.end());
    return all;
  }
  std::atomic<uint64_t> done_{0}, total_{0};
};
ON_EVERY_ENGINE(Clones);

TEST_P(Clones, a_tree) {
  const Ino top = make_tree();
  Attr owner;
  owner.uid = 7;
  owner.gid = 8;
  const Ino a = find(top, "a");
  ASSERT_OK(meta_->setattr(root_, a, meta::kSetUid | meta::kSetGid, owner));
  const int64_t space = counter(meta::counter::kUsedSpace), inodes = counter(meta::counter::kTotalInodes);
  clock_.advance(10'000);
  ASSERT_OK(clone(top, "copy"));
  const Ino copy = find(kRootIno, "copy");
  EXPECT_EQ(kTreeFiles + kTreeDirs, done_);
  EXPECT_EQ(kTreeFiles + kTreeDirs, total_);
  EXPECT_EQ(space + static_cast<int64_t>(kTreeSpace), counter(meta::counter::kUsedSpace));
  EXPECT_EQ(inodes + static_cast<int64_t>(kTreeFiles + kTreeDirs), counter(meta::counter::kTotalInodes));
  EXPECT_EQ(0u, rows(Table::kDetachedNodes));
  EXPECT_EQ(names(top), names(copy));

  const Ino a2 = find(copy, "a"), link2 = find(copy, "link");
  EXPECT_NE(a2, link2) << "hard links become files of their own";
  Attr was = attr(a), is = attr(a2);
  EXPECT_EQ(1u, is.nlink);
  EXPECT_EQ(copy, is.parent);
  is.nlink = was.nlink;
  is.parent = was.parent;
  EXPECT_EQ(was, is) << "owner, mode and times are kept";
  EXPECT_EQ(chunks(a), chunks(a2));
  EXPECT_EQ("some/target", *meta_->readlink(root_, find(copy, "l")));
  const Ino b = find(find(top, "sub"), "b"), b2 = find(find(copy, "sub"), "b");
  EXPECT_EQ(2u, chunks(b2).size());
  EXPECT_EQ(chunks(b), chunks(b2));
  EXPECT_EQ("v", *meta_->getxattr(root_, b2, "user.k"));
  EXPECT_EQ(attr(find(top, "sub")).nlink, attr(find(copy, "sub")).nlink);
  EXPECT_EQ(4u, attr(kRootIno).nlink) << "2, the tree, the clone";

  // The slices live as long as one of the two does.
  const auto slices = *decode_slices(chunks(b2)[0].substr(2));
  EXPECT_OK(meta_->remove_tree(root_, kRootIno, "t", true, 4, nullptr));
  meta_->drain_deletes();
  EXPECT_FALSE(data_.was_deleted(slices[0].id));
  EXPECT_OK(meta_->remove_tree(root_, kRootIno, "copy", true, 4, nullptr));
  meta_->drain_deletes();
  EXPECT_OK(meta_->clean_deleted_files(0));
  meta_->drain_deletes();
  EXPECT_TRUE(data_.was_deleted(slices[0].id));
}

TEST_P(Clones, owned_by_the_caller) {
  const Ino file = mkfile(kRootIno, "f", 0777);
  write(file, 0, 100);
  const Ino dir = mkdir(kRootIno, "open", 0777);
  clock_.advance(10'000);
  ASSERT_OK(clone(file, "g", false, user(1001, 100), dir));
  const Attr is = attr(find(dir, "g"));
  EXPECT_EQ(1001u, is.uid);
  EXPECT_EQ(100u, is.gid);
  EXPECT_EQ(0755, is.mode);
  EXPECT_EQ(clock_.now(), is.mtime);
  EXPECT_EQ(100u, is.length);
  EXPECT_EQ(clock_.now(), attr(dir).mtime);
}

TEST_P(Clones, a_file_of_many_chunks) {
  const Ino file = mkfile(kRootIno, "f");
  write(file, 0, 10);
  write(file, 70, 20);
  write(file, 300, 30);
  ASSERT_OK(clone(file, "g"));
  const Ino copy = find(kRootIno, "g");
  EXPECT_EQ(chunks(file), chunks(copy));
  EXPECT_EQ(3u, chunks(copy).size());
  EXPECT_EQ(attr(file).length, attr(copy).length);
}

// Several batches, with what cannot be copied along with its neighbours.
TEST_P(Clones, a_wide_directory) {
  const Ino top = mkdir(kRootIno, "t");
  const Ino first = mkfile(top, "f0");
  write(first, 0, 100);
  for (int i = 1; i < 230; i++) {
    const std::string name = "f" + std::to_string(i);
    if (i % 10 == 0)
      ASSERT_OK(meta_->link(root_, first, top, name));
    else if (i % 10 == 1)
      mkdir(top, name);
    else
      write(mkfile(top, name), 0, static_cast<uint32_t>(i));
  }
  const Ino large = mkfile(top, "large");
  write(large, 3, 10);
  write(large, 99, 20);
  put([&](Txn& txn) { txn.put(Key::entry(top, "without"), Entry{FileType::kFile, Ino{99'999}}); });
  ASSERT_OK(clone(top, "copy"));
  const Ino copy = find(kRootIno, "copy");
  put([&](Txn& txn) { txn.erase(Key::entry(top, "without")); });
  EXPECT_EQ(names(top), names(copy));
  for (const auto& name : names(top)) {
    const Ino from = find(top, name), to = find(copy, name);
    EXPECT_NE(from, to);
    EXPECT_EQ(chunks(from), chunks(to)) << name;
    EXPECT_EQ(attr(from).length, attr(to).length) << name;
    EXPECT_EQ(copy, attr(to).parent) << name;
  }
  EXPECT_EQ(2u, chunks(find(copy, "large")).size());
}

TEST_P(Clones, while_the_files_are_written) {
  const Ino top = mkdir(kRootIno, "t");
  std::vector<Ino> files;
  for (int i = 0; i < 60; i++) files.push_back(mkfile(top, "f" + std::to_string(i)));
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (size_t i = 0; !done; i++) write(files[i % files.size()], 0, 100);
  });
  auto cloned = clone(top, "copy");
  done = true;
  writer.join();
  EXPECT_OK(cloned);
  EXPECT_EQ(60u, names(find(kRootIno, "copy")).size());
}

TEST_P(Clones, refusals) {
  const Ino top = make_tree(), file = mkfile(kRootIno, "f");
  EXPECT_ERRNO(ENOENT, clone(Ino{99999}, "x"));
  EXPECT_ERRNO(ENOENT, clone(top, ""));
  EXPECT_ERRNO(EEXIST, clone(top, "f"));
  EXPECT_ERRNO(ENOTDIR, clone(top, "x", true, {}, file));
  EXPECT_ERRNO(ENOENT, clone(top, "x", true, {}, Ino{99999}));
  EXPECT_ERRNO(EPERM, clone(top, ".trash"));
  EXPECT_ERRNO(EPERM, clone(top, "x", true, {}, kTrashIno));
  EXPECT_ERRNO(EINVAL, clone(top, "x", true, {}, find(top, "sub"))) << "into itself";
  EXPECT_ERRNO(EACCES, clone(top, "x", true, user(1001), top));
  const Ino secret = mkdir(kRootIno, "secret", 0700), open = mkdir(kRootIno, "open", 0777);
  EXPECT_ERRNO(EACCES, clone(secret, "x", true, user(1001), open));
  Attr flags;
  flags.flags = kFlagImmutable;
  ASSERT_OK(meta_->setattr(root_, open, meta::kSetFlags, flags));
  EXPECT_ERRNO(EPERM, clone(top, "x", true, {}, open));
  EXPECT_EQ(0u, rows(Table::kDetachedNodes));
}

TEST_P(Clones, limits_are_checked_for_the_whole) {
  const Ino top = make_tree(), dir = mkdir(kRootIno, "d");
  ASSERT_OK(meta_->set_quota(Meta::QuotaKind::kDirectory, raw(dir), {}, 9, false));
  EXPECT_ERRNO(EDQUOT, clone(top, "x", true, {}, dir));
  ASSERT_OK(meta_->set_quota(Meta::QuotaKind::kDirectory, raw(dir), {}, 10, false));
  ASSERT_OK(clone(top, "x", true, {}, dir));
  EXPECT_EQ(10, meta_->get_quota(Meta::QuotaKind::kDirectory, raw(dir))->used_inodes);
  change_format([](Format& format) { format.inodes = 25; });
  EXPECT_ERRNO(ENOSPC, clone(top, "y"));
}

TEST_P(Clones, unreadable_part_leaves_nothing_behind) {
  const Ino top = mkdir(kRootIno, "t", 0777), sub = mkdir(top, "sub", 0777);
  mkfile(sub, "ok", 0644);
  mkfile(sub, "secret", 0600);
  const Ino open = mkdir(kRootIno, "open", 0777);
  const int64_t inodes = counter(meta::counter::kTotalInodes);
  EXPECT_ERRNO(EACCES, clone(top, "x", false, user(1001), open));
  EXPECT_EQ(Ino{0}, find(open, "x"));
  EXPECT_EQ(0u, rows(Table::kDetachedNodes));
  meta_->drain_deletes();
  EXPECT_EQ(inodes, counter(meta::counter::kTotalInodes));
}

TEST_P(Clones, wrong_link_counts_and_statistics_are_not_copied) {
  const Ino top = make_tree();
  ASSERT_OK(meta_->flush_ledgers());
  Attr damaged = attr(top);
  const uint32_t right = damaged.nlink;
  damaged.nlink = 9;
  put([&](Txn& txn) {
    txn.put_attr(top, damaged);
    txn.put(Key::dir_stat(top), DirStat{1, 2, 3});
  });
  ASSERT_OK(clone(top, "copy"));
  EXPECT_EQ(right, attr(find(kRootIno, "copy")).nlink);
  damaged.nlink = right;
  put([&](Txn& txn) { txn.put_attr(top, damaged); });
  ASSERT_OK(meta_->state().ledger.recount_dir(meta_->state(), top, true));
}

TEST_P(Clones, what_was_never_attached_is_cleaned) {
  const Ino top = make_tree();
  ASSERT_OK(meta_->flush_ledgers());
  // As if the client had died before attaching it.
  const int64_t long_ago = clock_.now().sec - 2 * 86400;
  Attr root = attr(kRootIno);
  root.nlink--;
  put([&](Txn& txn) {
    txn.erase(Key::entry(kRootIno, "t"));
    txn.put_attr(kRootIno, root);
    txn.put(Key::detached(top), long_ago);
  });
  ASSERT_OK(meta_->state().ledger.recount_dir(meta_->state(), kRootIno, true));
  EXPECT_EQ(0u, *meta_->clean_detached(3 * 86400));
  auto removed = meta_->clean_detached(86400);
  ASSERT_OK(removed);
  EXPECT_EQ(1u, *removed);
  EXPECT_EQ(0u, rows(Table::kDetachedNodes));
  EXPECT_EQ(1u, rows(Table::kInodes));
  EXPECT_EQ(0, counter(meta::counter::kTotalInodes));
}

}  // namespace
}  // namespace zest::conformance
