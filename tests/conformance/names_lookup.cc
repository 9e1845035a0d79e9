// lookup, resolve, getattr, access, readlink, readdir, chroot: sections 5, 6.6 and 10.7 of semantics.md.
#include <algorithm>

#include "fixture.h"

namespace zest::conformance {
namespace {

class Lookup : public Conformance {
 protected:
  void choose(Format& format) override { format.trash_days = 1; }
};
ON_EVERY_ENGINE(Lookup);

TEST_P(Lookup, finds_names) {
  const Ino dir = mkdir(kRootIno, "d", 0700), file = mkfile(dir, "f");
  auto found = meta_->lookup(root_, dir, "f");
  ASSERT_OK(found);
  EXPECT_EQ(found->ino, file);
  EXPECT_TRUE(found->has_attr);
  EXPECT_EQ(found->attr, attr(file));
  EXPECT_EQ(meta_->lookup(root_, dir, ".")->ino, dir);
  EXPECT_EQ(meta_->lookup(root_, dir, "..")->ino, kRootIno);
  EXPECT_EQ(meta_->lookup(root_, kRootIno, "..")->ino, kRootIno);
  EXPECT_EQ(meta_->lookup(root_, Ino{0}, "d")->ino, dir);
  EXPECT_EQ(meta_->lookup(root_, kRootIno, ".trash")->ino, kTrashIno);
  EXPECT_ERRNO(ENOENT, meta_->lookup(root_, dir, ".trash"));
  EXPECT_ERRNO(ENOENT, meta_->lookup(root_, dir, "missing"));
  EXPECT_ERRNO(ENOENT, meta_->lookup(root_, Ino{99999}, "f"));
  EXPECT_ERRNO(ENOENT, meta_->lookup(root_, file, "f"));
  EXPECT_ERRNO(ENOTDIR, meta_->lookup(root_, file, ".."));
  EXPECT_ERRNO(ENAMETOOLONG, meta_->lookup(root_, dir, std::string(256, 'x')));
  const Context bob = user(1001);
  EXPECT_ERRNO(EACCES, meta_->lookup(bob, dir, "f"));
  EXPECT_ERRNO(EACCES, meta_->lookup(bob, dir, "missing"));
  EXPECT_OK(meta_->lookup(bob, dir, "f", false));
}

TEST_P(Lookup, names_are_bytes) {
  const std::string raw_name("\x01\xFF'\"\\%_ \n\t\xC3", 11);
  const Ino file = mkfile(kRootIno, raw_name);
  mkfile(kRootIno, "a");
  mkfile(kRootIno, "A");
  EXPECT_EQ(find(kRootIno, raw_name), file);
  EXPECT_NE(find(kRootIno, "a"), find(kRootIno, "A"));
  EXPECT_EQ(raw(find(kRootIno, "a ")), 0u);
  auto listed = names(kRootIno);
  EXPECT_NE(std::find(listed.begin(), listed.end(), raw_name), listed.end());
}

TEST_P(Lookup, entry_without_an_inode_has_its_type) {
  verify_at_end_ = false;
  const Ino file = mkfile(kRootIno, "f");
  auto broken = meta::run(meta_->engine(), clock_, {}, [&](meta::Txn& txn) -> Result<void> {
    txn.erase(meta::Key::inode(file));
    return {};
  });
  ASSERT_OK(broken);
  auto found = meta_->lookup(root_, kRootIno, "f");
  ASSERT_OK(found);
  EXPECT_EQ(found->ino, file);
  EXPECT_FALSE(found->has_attr);
  EXPECT_EQ(found->attr.type, FileType::kFile);
  EXPECT_OK(meta_->unlink(root_, kRootIno, "f"));
  EXPECT_ERRNO(ENOENT, meta_->lookup(root_, kRootIno, "f"));
}

TEST_P(Lookup, resolve_walks_a_path) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(a, "b"), file = mkfile(b, "f");
  EXPECT_EQ(meta_->resolve(root_, "/a/b/f")->ino, file);
  EXPECT_EQ(meta_->resolve(root_, "a//./b/../b/f")->ino, file);
  EXPECT_EQ(meta_->resolve(root_, "")->ino, kRootIno);
  EXPECT_EQ(meta_->resolve(root_, "/")->ino, kRootIno);
  EXPECT_EQ(meta_->resolve(root_, "/../..")->ino, kRootIno);
  EXPECT_ERRNO(ENOENT, meta_->resolve(root_, "/a/x/f"));
  EXPECT_ERRNO(ENOTDIR, meta_->resolve(root_, "/a/b/f/g"));
  mksymlink(a, "l", "b");
  EXPECT_EQ(meta_->resolve(root_, "/a/l")->attr.type, FileType::kSymlink);
  EXPECT_ERRNO(ENOTDIR, meta_->resolve(root_, "/a/l/f"));
}

TEST_P(Lookup, attributes_of_roots) {
  const Attr root = attr(kRootIno);
  EXPECT_EQ(root.mode, 0777);
  EXPECT_EQ(root.nlink, 2u);
  EXPECT_EQ(root.length, 4096u);
  const Attr trash = attr(kTrashIno);
  EXPECT_EQ(trash.mode, 0555);
  EXPECT_TRUE(trash.is_dir());
  EXPECT_ERRNO(ENOENT, meta_->getattr(root_, Ino{99999}));
}

TEST_P(Lookup, access_by_owner_group_and_others) {
  const Ino file = mkfile(kRootIno, "f", 0640, user(1000, 100));
  using meta::kMayExec, meta::kMayRead, meta::kMayWrite;
  EXPECT_OK(meta_->access(user(1000), file, kMayRead | kMayWrite));
  EXPECT_ERRNO(EACCES, meta_->access(user(1000), file, kMayExec));
  EXPECT_OK(meta_->access(user(1001, 100), file, kMayRead));
  EXPECT_OK(meta_->access(user(1001, 7, {100}), file, kMayRead));
  EXPECT_ERRNO(EACCES, meta_->access(user(1001, 100), file, kMayWrite));
  EXPECT_ERRNO(EACCES, meta_->access(user(1001, 7), file, kMayRead));
  EXPECT_OK(meta_->access(root_, file, kMayRead | kMayWrite | kMayExec));
  EXPECT_OK(meta_->access(user(0), file, kMayRead | kMayWrite));
  EXPECT_ERRNO(EACCES, meta_->access(user(0), file, kMayExec)) << "nobody may run it";
  Context behind_kernel = user(1001, 7);
  behind_kernel.check_permission = false;
  EXPECT_OK(meta_->access(behind_kernel, file, kMayWrite));
  EXPECT_ERRNO(ENOENT, meta_->access(user(1), Ino{99999}, kMayRead));
}

TEST_P(Lookup, readlink) {
  const Ino link = mksymlink(kRootIno, "l", "../some/where");
  const Ino file = mkfile(kRootIno, "f");
  for (int i = 0; i < 2; i++) EXPECT_EQ(*meta_->readlink(root_, link), "../some/where");
  EXPECT_ERRNO(EINVAL, meta_->readlink(root_, file));
  EXPECT_ERRNO(ENOENT, meta_->readlink(root_, Ino{99999}));
}

TEST_P(Lookup, atime_of_links_and_directories_by_mode) {
  const Ino dir = mkdir(kRootIno, "d"), link = mksymlink(dir, "l", "x");
  const Time made = clock_.now();
  clock_.advance(10'000);
  ASSERT_OK(meta_->readlink(root_, link));
  ASSERT_OK(meta_->readdir(root_, dir, false));
  EXPECT_EQ(attr(link).atime, made);
  EXPECT_EQ(attr(dir).atime, made);
  meta::Options strict;
  strict.atime = meta::AtimeMode::kStrictAtime;
  auto other = client(strict);
  ASSERT_TRUE(other);
  ASSERT_OK(other->readlink(root_, link));
  ASSERT_OK(other->readdir(root_, dir, false));
  EXPECT_EQ(attr(link).atime, clock_.now());
  EXPECT_EQ(attr(dir).atime, clock_.now());
  EXPECT_EQ(attr(link).ctime, made);
  EXPECT_OK(other->close_session());
  meta::Options relative;
  relative.atime = meta::AtimeMode::kRelatime;
  other = client(relative);
  ASSERT_TRUE(other);
  const Time before = clock_.now();
  clock_.advance(3'600'000);
  ASSERT_OK(other->readlink(root_, link));
  EXPECT_EQ(attr(link).atime, before);
  clock_.advance(24 * 3'600'000);
  ASSERT_OK(other->readlink(root_, link));
  EXPECT_EQ(attr(link).atime, clock_.now());
  EXPECT_OK(other->close_session());
}

class Readdir : public Conformance {};
ON_EVERY_ENGINE(Readdir);

TEST_P(Readdir, gives_every_entry_once_in_pages) {
  const Ino dir = mkdir(kRootIno, "d");
  std::vector<std::string> expected;
  for (int i = 0; i < 300; i++) {
    const std::string name = "n" + std::to_string(i);
    expected.push_back(name);
    if (i % 3 == 0)
      mkdir(dir, name);
    else
      mkfile(dir, name);
  }
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(names(dir), expected);
  for (bool with_attr : {false, true}) {
    auto stream = meta_->opendir(root_, dir, with_attr);
    ASSERT_OK(stream);
    std::vector<std::string> seen;
    for (;;) {
      auto page = (*stream)->next(64);
      ASSERT_OK(page);
      if (page->empty()) break;
      for (const auto& entry : *page) {
        seen.push_back(entry.name);
        EXPECT_EQ(entry.attr.has_value(), with_attr);
        if (!entry.attr) continue;
        EXPECT_EQ(entry.attr->type, entry.entry.type);
        EXPECT_EQ(*entry.attr, attr(entry.entry.ino));
      }
    }
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(seen, expected);
  }
}

TEST_P(Readdir, refusals) {
  const Ino dir = mkdir(kRootIno, "d", 0744);
  const Context bob = user(1001);
  EXPECT_OK(meta_->opendir(bob, dir, false));
  EXPECT_ERRNO(EACCES, meta_->opendir(bob, dir, true));
  EXPECT_ERRNO(EACCES, meta_->opendir(bob, mkdir(kRootIno, "closed", 0711), false));
  EXPECT_ERRNO(ENOENT, meta_->opendir(root_, Ino{99999}, false));
  EXPECT_TRUE(meta_->readdir(root_, kTrashIno, true)->empty());
}

TEST_P(Readdir, entries_removed_during_a_listing_do_no_harm) {
  const Ino dir = mkdir(kRootIno, "d");
  for (int i = 0; i < 100; i++) mkfile(dir, std::to_string(1000 + i));
  auto stream = meta_->opendir(root_, dir, false);
  ASSERT_OK(stream);
  size_t removed = 0;
  for (;;) {
    auto page = (*stream)->next(10);
    ASSERT_OK(page);
    if (page->empty()) break;
    for (const auto& entry : *page) removed += meta_->unlink(root_, dir, entry.name).has_value();
  }
  EXPECT_EQ(removed, 100u);
  EXPECT_TRUE(names(dir).empty());
}

class Subdir : public Conformance {
 protected:
  void choose(Format& format) override { format.trash_days = 1; }
};
ON_EVERY_ENGINE(Subdir);

TEST_P(Subdir, becomes_inode_1) {
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(a, "b");
  meta::Options options;
  options.subdir = "/a/b/";
  auto below = client(options);
  ASSERT_TRUE(below);
  auto made = below->mkdir(root_, kRootIno, "c", 0755, 0);
  ASSERT_OK(made);
  EXPECT_EQ(find(b, "c"), made->ino);
  EXPECT_EQ(attr(made->ino).parent, b);
  EXPECT_EQ(below->lookup(root_, made->ino, "..")->ino, kRootIno);
  EXPECT_EQ(below->lookup(root_, kRootIno, "..")->ino, kRootIno);
  EXPECT_EQ(below->getattr(root_, kRootIno)->nlink, 3u);
  EXPECT_ERRNO(ENOENT, below->lookup(root_, kRootIno, ".trash"));
  EXPECT_OK(below->mknod(root_, kRootIno, ".trash", FileType::kFile, 0600, 0, 0));
  EXPECT_OK(below->unlink(root_, kRootIno, ".trash"));
  EXPECT_OK(below->rename(root_, kRootIno, "c", kRootIno, "d", 0));
  EXPECT_EQ(below->readdir(root_, kRootIno, false)->size(), 1u);
  EXPECT_OK(below->close_session());
}

TEST_P(Subdir, is_made_when_missing) {
  mkfile(kRootIno, "file");
  meta::Options options;
  options.subdir = "x/y";
  auto below = client(options);
  ASSERT_TRUE(below);
  auto made = meta_->resolve(root_, "/x/y");
  ASSERT_OK(made);
  EXPECT_EQ(made->attr.mode, 0777);
  EXPECT_OK(below->close_session());

  auto try_load = [&](const std::string& subdir, bool read_only) {
    meta::Options wrong;
    wrong.subdir = subdir;
    wrong.read_only = read_only;
    meta::EngineOptions engine_options;
    engine_options.read_only = read_only;
    auto engine = meta::open_engine(database_->url(), engine_options);
    EXPECT_TRUE(engine);
    Meta other(std::move(*engine), clock_, wrong);
    return code_of(other.load());
  };
  EXPECT_EQ(ENOTDIR, try_load("/file/z", false));
  EXPECT_EQ(ENOTDIR, try_load("/file", false));
  EXPECT_EQ(EROFS, try_load("/not/there", true));
}

class ReadOnly : public Conformance {};
ON_EVERY_ENGINE(ReadOnly);

TEST_P(ReadOnly, client_changes_nothing) {
  const Ino dir = mkdir(kRootIno, "d"), file = mkfile(dir, "f");
  meta::Options options;
  options.read_only = true;
  auto reader = client(options);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->session_id(), 0u);
  EXPECT_OK(reader->lookup(root_, dir, "f"));
  EXPECT_EQ(reader->readdir(root_, dir, true)->size(), 1u);
  EXPECT_ERRNO(EROFS, reader->mkdir(root_, dir, "x", 0755, 0));
  EXPECT_ERRNO(EROFS, reader->create(root_, dir, "x", 0755, 0, false, 2));
  EXPECT_ERRNO(EROFS, reader->tmpfile(root_, dir, 0600, 0));
  EXPECT_ERRNO(EROFS, reader->unlink(root_, dir, "f"));
  EXPECT_ERRNO(EROFS, reader->rmdir(root_, kRootIno, "d"));
  EXPECT_ERRNO(EROFS, reader->rename(root_, dir, "f", dir, "g", 0));
  EXPECT_ERRNO(EROFS, reader->link(root_, file, dir, "g"));
  EXPECT_ERRNO(EROFS, reader->setattr(root_, file, meta::kSetMode, Attr{}));
  EXPECT_OK(reader->close_session());
}

}  // namespace
}  // namespace zest::conformance
