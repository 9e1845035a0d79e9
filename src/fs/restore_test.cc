// One process after the other on a volume in memory, as far as a state table carries over.
#include <fcntl.h>
#include <gtest/gtest.h>

#include "data/testing.h"
#include "fs/filesystem.h"
#include "fs/handles.h"
#include "fs/state_table.h"

namespace zest::fs {
namespace {

using data::testing::Volume;

class Restore : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = StateTable::create();
    ASSERT_TRUE(made);
    table = std::move(*made);
    ASSERT_TRUE(volume.meta->start_session({}));
    next_process();
  }
  void TearDown() override { fs.reset(); }
  void next_process() {
    fs.reset();
    table = std::move(StateTable::attach(Fd(dup(table->fd()))).value());
    fs = std::make_unique<FileSystem>(*volume.meta, *volume.data, system_clock(), Options{.enable_whiteout = true},
                                      table);
    auto lost = fs->restore();
    ASSERT_TRUE(lost);
    lost_inodes = lost->size();
  }
  // A request whose process died in it: the next one serves it again, with what was noted.
  Context again() {
    attempt.again = 1;
    return context();
  }
  Context context() {
    Context out;
    out.attempt = &attempt;
    return out;
  }
  Ino lookup(const char* name) {
    auto entry = fs->lookup({}, kRootIno, name);
    return entry ? entry->ino : Ino{0};
  }
  size_t records() {
    size_t count = 0;
    table->each([&](Record&) { count++; });
    return count;
  }

  Volume volume;
  std::shared_ptr<StateTable> table;
  std::unique_ptr<FileSystem> fs;
  meta::Attempt attempt{};
  size_t lost_inodes = 0;
};

TEST_F(Restore, HandlesKeepTheirNumbers) {
  auto file = fs->create({}, kRootIno, "f", 0644, 022, O_RDWR);
  ASSERT_TRUE(file);
  Ino ino = file->entry.ino;
  ASSERT_TRUE(fs->write({}, ino, file->fh, 0, std::string_view("data"), false));
  ASSERT_TRUE(fs->fsync({}, ino, file->fh, false));
  ASSERT_TRUE(fs->unlink({}, kRootIno, "f"));
  next_process();
  EXPECT_EQ(lost_inodes, 0u);
  std::string got(4, '?');
  EXPECT_EQ(fs->read({}, ino, file->fh, 0, got).value_or(0), 4u);
  EXPECT_EQ(got, "data");
  auto other = fs->create({}, kRootIno, "g", 0644, 022, O_RDWR);
  ASSERT_TRUE(other);
  EXPECT_GT(other->fh, file->fh);
  fs->release({}, other->entry.ino, other->fh);
  fs->release({}, ino, file->fh);
  EXPECT_EQ(records(), 0u);
}

TEST_F(Restore, LostWritesAreToldOnceByEachHandle) {
  auto file = fs->create({}, kRootIno, "f", 0644, 022, O_RDWR);
  ASSERT_TRUE(file);
  Ino ino = file->entry.ino;
  auto second = fs->open({}, ino, O_WRONLY), reader = fs->open({}, ino, O_RDONLY);
  ASSERT_TRUE(second && reader);
  ASSERT_TRUE(fs->write({}, ino, file->fh, 0, std::string_view("data"), false));
  next_process();
  EXPECT_EQ(lost_inodes, 1u);
  next_process();  // nobody was told yet
  EXPECT_EQ(code_of(fs->write({}, ino, file->fh, 0, std::string_view("more"), false)), EIO);
  EXPECT_EQ(code_of(fs->write({}, ino, file->fh, 0, std::string_view("more"), false)), 0);
  EXPECT_EQ(code_of(fs->fsync({}, ino, file->fh, false)), EIO) << "the kernel may have hidden the first";
  EXPECT_EQ(code_of(fs->fsync({}, ino, file->fh, false)), 0);
  EXPECT_EQ(code_of(fs->flush({}, ino, second->fh, 0)), EIO);
  EXPECT_EQ(code_of(fs->flush({}, ino, second->fh, 0)), 0);
  EXPECT_EQ(code_of(fs->flush({}, ino, reader->fh, 0)), 0);
}

TEST_F(Restore, LocksAreReleasedWithTheirHandle) {
  auto file = fs->create({}, kRootIno, "f", 0644, 022, O_RDWR);
  ASSERT_TRUE(file);
  Ino ino = file->entry.ino;
  ASSERT_TRUE(fs->flock({}, ino, file->fh, 7, LockType::kWrite, LockWait::kNo));
  ASSERT_TRUE(fs->setlk({}, ino, file->fh, 9, {LockType::kWrite, 0, 0, 10}, LockWait::kNo));
  next_process();
  auto other = fs->open({}, ino, O_RDWR);
  ASSERT_TRUE(other);
  EXPECT_EQ(code_of(fs->flock({}, ino, other->fh, 8, LockType::kWrite, LockWait::kNo)), EAGAIN);
  EXPECT_EQ(code_of(fs->setlk({}, ino, other->fh, 8, {LockType::kWrite, 0, 0, 10}, LockWait::kNo)), EAGAIN);
  fs->release({}, ino, file->fh);
  EXPECT_EQ(code_of(fs->flock({}, ino, other->fh, 8, LockType::kWrite, LockWait::kNo)), 0);
  EXPECT_EQ(code_of(fs->setlk({}, ino, other->fh, 8, {LockType::kWrite, 0, 0, 10}, LockWait::kNo)), 0);
}

TEST_F(Restore, MakingIsNotRepeated) {
  auto made = fs->mkdir(context(), kRootIno, "d", 0755, 022);
  ASSERT_TRUE(made);
  auto repeated = fs->mkdir(again(), kRootIno, "d", 0755, 022);
  ASSERT_TRUE(repeated);
  EXPECT_EQ(repeated->ino, made->ino);
  attempt = {};  // another's request
  EXPECT_EQ(code_of(fs->mkdir(again(), kRootIno, "d", 0755, 022)), EEXIST);
}

TEST_F(Restore, CreationGivesTheSameFileAndClosesTheUnknownHandle) {
  auto made = fs->create(context(), kRootIno, "f", 0644, 022, O_RDWR | O_EXCL);
  ASSERT_TRUE(made);
  next_process();
  auto repeated = fs->create(again(), kRootIno, "f", 0644, 022, O_RDWR | O_EXCL);
  ASSERT_TRUE(repeated);
  EXPECT_EQ(repeated->entry.ino, made->entry.ino);
  EXPECT_NE(repeated->fh, made->fh);
  std::string none;
  EXPECT_EQ(code_of(fs->read({}, made->entry.ino, made->fh, 0, none)), EBADF);
  EXPECT_EQ(code_of(fs->write({}, made->entry.ino, repeated->fh, 0, std::string_view("x"), false)), 0);
}

TEST_F(Restore, RemovalAndRenameAreNotRepeated) {
  for (auto* name : {"a", "b"}) ASSERT_TRUE(fs->mknod({}, kRootIno, name, FileType::kFile, 0644, 022, 0));
  Ino a = lookup("a"), b = lookup("b");
  ASSERT_TRUE(fs->rename(context(), kRootIno, "a", kRootIno, "b", meta::kRenameExchange));
  ASSERT_TRUE(fs->rename(again(), kRootIno, "a", kRootIno, "b", meta::kRenameExchange));
  EXPECT_EQ(lookup("a"), b);
  EXPECT_EQ(lookup("b"), a);
  attempt = {};
  ASSERT_TRUE(fs->rename(context(), kRootIno, "a", kRootIno, "c", 0));
  ASSERT_TRUE(fs->rename(again(), kRootIno, "a", kRootIno, "c", 0));
  attempt = {};
  ASSERT_TRUE(fs->rename(context(), kRootIno, "c", kRootIno, "w", meta::kRenameWhiteout));
  ASSERT_TRUE(fs->rename(again(), kRootIno, "c", kRootIno, "w", meta::kRenameWhiteout));
  EXPECT_EQ(lookup("w"), b) << "the whiteout does not follow";
  attempt = {};
  ASSERT_TRUE(fs->link(context(), b, kRootIno, "l"));
  ASSERT_TRUE(fs->link(again(), b, kRootIno, "l"));
  attempt = {};
  ASSERT_TRUE(fs->unlink(context(), kRootIno, "l"));
  ASSERT_TRUE(fs->unlink(again(), kRootIno, "l"));
  attempt = {};
  EXPECT_EQ(code_of(fs->unlink(again(), kRootIno, "l")), ENOENT);  // not begun before: as always
}

TEST_F(Restore, AppendsAreNotRepeated) {
  auto file = fs->create({}, kRootIno, "f", 0644, 022, O_WRONLY | O_APPEND);
  ASSERT_TRUE(file);
  ASSERT_TRUE(fs->write({}, file->entry.ino, file->fh, 0, std::string_view("line\n"), false));
  ASSERT_TRUE(fs->fsync({}, file->entry.ino, file->fh, false));
  ASSERT_TRUE(fs->write(again(), file->entry.ino, file->fh, 0, std::string_view("line\n"), false));
  EXPECT_EQ(fs->getattr({}, file->entry.ino)->length, 5u);
  ASSERT_TRUE(fs->write(again(), file->entry.ino, file->fh, 5, std::string_view("line\n"), false));
  EXPECT_EQ(fs->getattr({}, file->entry.ino)->length, 10u);
}

TEST_F(Restore, ListingsGoOnByName) {
  for (int i = 0; i < 300; i++)
    ASSERT_TRUE(fs->mknod({}, kRootIno, "n" + std::to_string(i), FileType::kFile, 0644, 022, 0));
  auto fh = fs->opendir({}, kRootIno);
  ASSERT_TRUE(fh);
  std::multiset<std::string> names;
  uint64_t offset = 0;
  auto read_some = [&](size_t count) {
    ASSERT_TRUE(fs->readdir({}, kRootIno, *fh, offset, 4096, true, [&](const DirItem& item) {
      if (count-- == 0) return false;
      if (item.name.starts_with('n')) names.insert(std::string(item.name));
      offset = item.next;
      return true;
    }));
  };
  read_some(100);
  auto given = names;
  next_process();
  for (auto& name : given) ASSERT_TRUE(fs->unlink({}, kRootIno, name));
  for (size_t before = 0; before != names.size();) {
    before = names.size();
    read_some(50);
  }
  EXPECT_EQ(names.size(), 300u);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 300u);
  fs->releasedir({}, kRootIno, *fh);
  EXPECT_EQ(records(), 0u);
}

TEST(StateTable, OfAnotherLayoutIsRefused) {
  auto table = StateTable::create();
  ASSERT_TRUE(table);
  (*table)->header().layout++;
  EXPECT_EQ(code_of(StateTable::attach(Fd(dup((*table)->fd())))), EPROTO);
}

}  // namespace
}  // namespace zest::fs
