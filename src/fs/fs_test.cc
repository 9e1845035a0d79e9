// The file system on a volume in memory.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/bytes.h"
#include "data/testing.h"
#include "fs/changes.h"
#include "fs/filesystem.h"
#include "fs/handles.h"
#include "fs/op.h"
#include "fs/virtual_files.h"

namespace zest::fs {
namespace {

using data::testing::Volume;

struct Fixture {
  Fixture() {
    SessionInfo info;
    EXPECT_TRUE(volume.meta->start_session(info));
    fs = std::make_unique<FileSystem>(*volume.meta, *volume.data, system_clock(), Options{}, table);
  }
  ~Fixture() { fs.reset(); }
  std::shared_ptr<StateTable> table = StateTable::unshared();

  FileSystem::Created create(std::string_view name, uint32_t flags = O_RDWR) {
    auto made = fs->create(root, kRootIno, name, 0644, 022, flags);
    EXPECT_TRUE(made) << name;
    return made ? *made : FileSystem::Created{};
  }
  void close(const FileSystem::Created& file) { fs->release(root, file.entry.ino, file.fh); }
  size_t write(const FileSystem::Created& file, uint64_t offset, std::string_view text) {
    return fs->write(root, file.entry.ino, file.fh, offset, text, false).value_or(0);
  }
  std::string read(Ino ino, uint64_t fh, uint64_t offset, size_t size) {
    std::string out(size, '?');
    auto got = fs->read(root, ino, fh, offset, out);
    if (!got) return "errno " + std::to_string(got.error().code);
    out.resize(*got);
    return out;
  }
  std::vector<std::string> list(Ino ino, size_t size = 4096) {
    std::vector<std::string> names;
    auto fh = fs->opendir(root, ino);
    EXPECT_TRUE(fh);
    uint64_t offset = 0;
    for (size_t before = 1; before != names.size();) {
      before = names.size();
      int left = 7;  // as if only so many fitted into a reply
      EXPECT_TRUE(fs->readdir(root, ino, *fh, offset, size, true, [&](const DirItem& item) {
        if (left-- == 0) return false;
        names.emplace_back(item.name);
        offset = item.next;
        return true;
      }));
    }
    fs->releasedir(root, ino, *fh);
    return names;
  }

  Volume volume;
  Context root;
  std::unique_ptr<FileSystem> fs;
};

TEST(InodeLock, ExclusiveWaitsAndIsNotStarved) {
  InodeLock lock;
  Context context;
  ASSERT_TRUE(lock.lock_shared(context));
  ASSERT_TRUE(lock.lock_shared(context));
  std::atomic<bool> got{false};
  std::thread writer([&] {
    ASSERT_TRUE(lock.lock(context));
    got = true;
    lock.unlock();
  });
  std::atomic<bool> cancelled{true};
  Context impatient;
  impatient.cancelled = &cancelled;
  EXPECT_EQ(code_of(lock.lock(impatient)), EINTR);
  EXPECT_FALSE(got);
  lock.unlock_shared();
  lock.unlock_shared();
  writer.join();
  EXPECT_TRUE(got);
  EXPECT_TRUE(lock.lock_shared(context));
  lock.unlock_shared();
}

TEST(HandleTable, NumbersTellWritableHandles) {
  auto state = StateTable::unshared();
  HandleTable table(*state);
  EXPECT_EQ(table.add(Ino{2}, O_RDONLY, false)->id % 2, 1u);
  auto writable = table.add(Ino{2}, O_RDWR, false);
  EXPECT_EQ(writable->id % 2, 0u);
  EXPECT_EQ(table.add(Ino{2}, 0, true)->id % 2, 1u);
  EXPECT_EQ(table.find(writable->id, Ino{2}), writable);
  EXPECT_EQ(table.find(writable->id, Ino{3}), nullptr) << "a number belongs to one inode";
  EXPECT_EQ(table.remove(writable->id), writable);
  EXPECT_EQ(table.find(writable->id, Ino{2}), nullptr);
}

TEST(Changes, AreSeenSinceAPoint) {
  Changes changes;
  changes.watch();
  uint64_t start = changes.now();
  EXPECT_FALSE(changes.inode_changed(Ino{5}, start));
  changes.inode(Ino{5});
  changes.name(Ino{1}, "a", true);
  EXPECT_TRUE(changes.inode_changed(Ino{5}, start));
  EXPECT_FALSE(changes.inode_changed(Ino{6}, start));
  EXPECT_EQ(changes.name_changed(Ino{1}, "a", start), Changes::Name::kAdded);
  uint64_t later = changes.now();
  changes.name(Ino{1}, "a", false);
  EXPECT_EQ(changes.name_changed(Ino{1}, "a", later), Changes::Name::kRemoved);
  EXPECT_EQ(changes.name_changed(Ino{1}, "b", start), Changes::Name::kUnchanged);
  for (int i = 0; i < 5000; i++) changes.name(Ino{1}, std::to_string(i), true);
  EXPECT_EQ(changes.name_changed(Ino{1}, "b", start), Changes::Name::kUnknown) << "too long ago to tell";
  EXPECT_TRUE(changes.inode_changed(Ino{6}, start));
}

TEST(AccessLog, WritesWhatTheToolsParse) {
  EXPECT_EQ(log_mode(0100644), "-rw-r--r--");
  EXPECT_EQ(log_mode(0041777), "drwxrwxrwt");
  EXPECT_EQ(log_mode(0104711), "-rws--x--x");
  EXPECT_EQ(log_mode(0755), "?rwxr-xr-x");
  EXPECT_EQ(log_status(0), "OK");
  EXPECT_EQ(log_status(ENOENT), "no such file or directory");
  EXPECT_EQ(log_text("plain ☃"), "plain ☃");
  EXPECT_EQ(log_text("a\nb"), "a\\nb");
  EXPECT_EQ(log_text("\xff"), "\\xff");
  Attr attr;
  attr.mode = 0644;
  attr.mtime = attr.atime = attr.ctime = {1795360067, 5};
  EXPECT_EQ(log_entry(Ino{2}, attr), " (2,[-rw-r--r--:0100644,1,0,0,1795360067,1795360067,1795360067,0])");
}

TEST(Histogram, CountsIntoBuckets) {
  Histogram by_factor(0.00001, 1.8, 29), by_step(4096, 0, 32);
  by_factor.add(0.00001);
  by_factor.add(0.000011);
  by_factor.add(1e9);
  EXPECT_EQ(by_factor.buckets()[0].count, 1u);
  EXPECT_EQ(by_factor.buckets()[1].count, 2u);
  EXPECT_EQ(by_factor.buckets().back().count, 2u);
  EXPECT_EQ(by_factor.count(), 3u);
  by_step.add(4096);
  by_step.add(4097);
  by_step.add(1 << 20);
  EXPECT_EQ(by_step.buckets()[0].count, 1u);
  EXPECT_EQ(by_step.buckets()[1].count, 2u);
  EXPECT_EQ(by_step.buckets().back().count, 2u);
}

TEST(FileSystem, ReadsItsWritesThroughEveryHandle) {
  Fixture f;
  auto file = f.create("f");
  EXPECT_EQ(f.write(file, 0, "hello world"), 11u);
  EXPECT_EQ(f.fs->getattr(f.root, file.entry.ino)->length, 11u);
  auto other = f.fs->open(f.root, file.entry.ino, O_RDONLY);
  ASSERT_TRUE(other);
  EXPECT_EQ(other->attr.length, 11u);
  EXPECT_EQ(f.read(file.entry.ino, other->fh, 6, 100), "world");
  EXPECT_EQ(code_of(f.fs->write(f.root, file.entry.ino, other->fh, 0, std::string_view("x"), false)), EBADF);
  EXPECT_EQ(code_of(f.fs->write(f.root, file.entry.ino, file.fh, kMaxFileSize - 1, std::string_view("x"), false)),
            EFBIG);
  Change cut;
  cut.set = kSetSize;
  cut.size = 5;
  EXPECT_EQ(f.fs->setattr(f.root, file.entry.ino, std::nullopt, cut)->length, 5u);
  EXPECT_EQ(f.read(file.entry.ino, other->fh, 0, 100), "hello");
  cut.size = kMaxFileSize;
  EXPECT_EQ(code_of(f.fs->setattr(f.root, file.entry.ino, std::nullopt, cut)), EFBIG);
  EXPECT_EQ(code_of(f.fs->setattr(f.root, file.entry.ino, other->fh, cut)), EFBIG);
  cut.size = 1;
  EXPECT_EQ(code_of(f.fs->setattr(f.root, file.entry.ino, other->fh, cut)), EACCES);
  f.fs->release(f.root, file.entry.ino, other->fh);
  EXPECT_TRUE(f.fs->flush(f.root, file.entry.ino, file.fh, 1));
  f.fs->release(f.root, file.entry.ino, file.fh);
  EXPECT_EQ(f.fs->open_inodes(), 0u);
  EXPECT_EQ(f.read(file.entry.ino, file.fh, 0, 1), "errno 9");
}

TEST(FileSystem, AppendsAtTheEndAsItIsNow) {
  Fixture f;
  auto one = f.create("f", O_WRONLY | O_APPEND);
  auto two = f.fs->open(f.root, one.entry.ino, O_RDWR | O_APPEND);
  ASSERT_TRUE(two);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; i++)
        EXPECT_EQ(
            *f.fs->write(f.root, one.entry.ino, t % 2 ? one.fh : two->fh, 0, std::string_view("12345678\n"), false),
            9u);
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(f.fs->getattr(f.root, one.entry.ino)->length, 4 * 50 * 9u);
  // pages that a client's cache writes back keep their place
  EXPECT_TRUE(f.fs->write(f.root, one.entry.ino, one.fh, 0, std::string_view("abc"), true));
  EXPECT_EQ(f.read(one.entry.ino, two->fh, 0, 10), "abc45678\n1");
  EXPECT_EQ(f.fs->getattr(f.root, one.entry.ino)->length, 4 * 50 * 9u);
}

TEST(FileSystem, ListsEverythingOnceInSmallReplies) {
  Fixture f;
  auto dir = f.fs->mkdir(f.root, kRootIno, "dir", 0755, 022);
  ASSERT_TRUE(dir);
  for (int i = 0; i < 300; i++)
    ASSERT_TRUE(f.fs->mknod(f.root, dir->ino, std::to_string(i), FileType::kFile, 0644, 022, 0));
  auto names = f.list(dir->ino);
  EXPECT_EQ(names.size(), 302u);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 302u);
  auto root = f.list(kRootIno);
  EXPECT_EQ(std::vector<std::string>(root.begin(), root.begin() + 6),
            (std::vector<std::string>{".accesslog", ".stats", ".config", ".trash", ".", ".."}));
}

TEST(FileSystem, AListingLeavesOutWhatWasRemovedMeanwhile) {
  Fixture f;
  for (int i = 0; i < 50; i++) f.close(f.create("n" + std::to_string(i)));
  auto fh = f.fs->opendir(f.root, kRootIno);
  uint64_t offset = 0;
  std::vector<std::string> names;
  auto add = [&](size_t limit) {
    return [&, limit](const DirItem& item) {
      if (names.size() == limit) return false;
      names.emplace_back(item.name);
      offset = item.next;
      return true;
    };
  };
  ASSERT_TRUE(f.fs->readdir(f.root, kRootIno, *fh, 0, 4096, true, add(10)));
  ASSERT_TRUE(f.fs->unlink(f.root, kRootIno, "n9"));
  ASSERT_TRUE(f.fs->readdir(f.root, kRootIno, *fh, offset, 4096, true, add(1000)));
  EXPECT_EQ(std::count(names.begin(), names.end(), "n9"), 0);
  EXPECT_EQ(names.size(), 6 + 49u);
  f.fs->releasedir(f.root, kRootIno, *fh);
}

TEST(FileSystem, VirtualNamesAreTaken) {
  Fixture f;
  EXPECT_EQ(f.fs->lookup(f.root, kRootIno, ".stats")->ino, kStatsIno);
  EXPECT_EQ(code_of(f.fs->lookup(f.root, Ino{2}, ".stats")), ENOENT);
  EXPECT_EQ(f.fs->lookup(f.root, Ino{2}, ".control")->ino, kControlIno);
  EXPECT_EQ(code_of(f.fs->mkdir(f.root, kRootIno, ".control", 0755, 0)), EEXIST);
  EXPECT_EQ(code_of(f.fs->unlink(f.root, kRootIno, ".trash")), EPERM);
  EXPECT_EQ(code_of(f.fs->link(f.root, kStatsIno, kRootIno, "x")), EPERM);
  EXPECT_EQ(code_of(f.fs->open(f.root, kStatsIno, O_RDWR)), EACCES);
  EXPECT_EQ(code_of(f.fs->getxattr(f.root, kStatsIno, "user.x", 0)), ENODATA);
  EXPECT_EQ(code_of(f.fs->setxattr(f.root, kStatsIno, "user.x", "1", 0)), EPERM);
  EXPECT_EQ(code_of(f.fs->mkdir(f.root, kRootIno, std::string(256, 'n'), 0755, 0)), ENAMETOOLONG);
  auto opened = f.fs->open(f.root, kConfigIno, O_RDONLY);
  ASSERT_TRUE(opened);
  EXPECT_TRUE(opened->direct_io);
  EXPECT_NE(f.read(kConfigIno, opened->fh, 0, 65536).find("\"UUID\": \"11111111-2222-4333-8444-555555555555\""),
            std::string::npos);
  f.fs->release(f.root, kConfigIno, opened->fh);
}

// Reads a reply: what follows the request in the handle's log.
std::string reply_of(Fixture& f, uint64_t fh, uint64_t from) {
  std::string out;
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < deadline) {
    auto part = f.read(kControlIno, fh, from + out.size(), 4096);
    out += part;
    auto rest = out;
    while (rest.size() >= 17 && rest[0] == '\xFE') rest.erase(0, 17);
    if (!rest.empty() && rest[0] != '\xFE') return rest;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return "no reply";
}

TEST(Control, RemovesATreeAndAnswers) {
  Fixture f;
  auto dir = f.fs->mkdir(f.root, kRootIno, "dir", 0755, 022);
  ASSERT_TRUE(f.fs->mkdir(f.root, dir->ino, "inner", 0755, 022));
  auto control = f.fs->open(f.root, kControlIno, O_RDWR);
  ASSERT_TRUE(control);
  meta::Attempt attempt{};
  Context caller = f.root;
  caller.attempt = &attempt;
  auto send = [&](std::string_view bytes) {
    return f.fs->write(caller, kControlIno, control->fh, 0, bytes, false).value_or(0);
  };
  std::string request;
  put_be32(request, 1002);
  put_be32(request, 8 + 1 + 3 + 2);
  put_be64(request, 1);
  request += std::string("\x03") + "dir" + std::string(1, '\0') + "\x32";
  // in two pieces, as a slow writer sends it
  EXPECT_EQ(send(std::string_view(request).substr(0, 5)), 5u);
  EXPECT_EQ(send(std::string_view(request).substr(5)), request.size() - 5);
  EXPECT_EQ(reply_of(f, control->fh, request.size()), std::string(1, '\0'));
  EXPECT_EQ(code_of(f.fs->lookup(f.root, kRootIno, "dir")), ENOENT);
  EXPECT_EQ(attempt.ino, 0u) << "the job outlives the request that began it";
  f.fs->release(f.root, kControlIno, control->fh);

  control = f.fs->open(f.root, kControlIno, O_RDWR);
  std::string bad;
  put_be32(bad, 4711);
  put_be32(bad, 0);
  send(bad);
  EXPECT_EQ(reply_of(f, control->fh, bad.size()), std::string(1, EINVAL));
  f.fs->release(f.root, kControlIno, control->fh);
}

TEST(FileSystem, StatsCountOperations) {
  Fixture f;
  f.close(f.create("f"));
  (void)f.fs->lookup(f.root, kRootIno, "missing");
  auto text = f.fs->stats_text();
  EXPECT_NE(text.find("juicefs_fuse_ops_total_create 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("juicefs_fuse_ops_io_errors_ENOENT 1\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace zest::fs
