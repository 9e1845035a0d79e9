// The disk cache's format, ring and limits, and a cache of real folders.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "data/cache/apart.h"
#include "data/cache/cache_file.h"
#include "data/cache/disk_cache.h"
#include "data/cache/hash_ring.h"
#include "data/cache/memory_cache.h"
#include "data/testing.h"
#include "object/file_io.h"

namespace zest::data {
namespace {

namespace fs = std::filesystem;
using testing::eventually;
using testing::Folder;
using testing::HangingDisk;
using testing::pattern;
using testing::SmallDisk;

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(HashRing, Vectors) {
  EXPECT_EQ(murmur3_32("hello"), 0x248bfa47u);
  EXPECT_EQ(murmur3_32("chunks/0/0/1_0_4194304"), 0xd52f8102u);
  EXPECT_EQ(fnv1_32("chunks/0/0/1_0_4194304"), 0xd8ae118au);
}

TEST(HashRing, KeysLandWhereTheReferencePutsThem) {
  std::vector<std::string> ids;
  for (char c : {'1', '2', '3'}) ids.push_back(std::string("00000000-0000-4000-8000-00000000000") + c);
  HashRing ring(ids);
  EXPECT_EQ(ring.replicas(), (std::vector<int>{94, 100, 105}));
  EXPECT_EQ(ring.pick("chunks/0/0/1_0_4194304"), 2u);
  EXPECT_EQ(ring.pick("chunks/0/0/2_0_4194304"), 2u);
  EXPECT_EQ(ring.pick("chunks/0/0/3_0_4194304"), 0u);
  EXPECT_EQ(ring.pick("chunks/0/0/4_0_4194304"), 1u);
  EXPECT_EQ(ring.pick("chunks/0/0/5_0_4194304"), 0u);
  EXPECT_EQ(ring.pick("chunks/0/0/6_0_4194304"), 1u);
  EXPECT_EQ(ring.pick("chunks/0/0/7_3_100"), 1u);
}

TEST(CacheFile, FormatOnDisk) {
  Folder dir;
  ASSERT_TRUE(write_cache_file(dir.path + "/a/b/f", "hello", Verify::kExtend, 0600));
  EXPECT_EQ(slurp(dir.path + "/a/b/f"), std::string("hello\x9a\x71\xbb\x4c"));
  struct stat st {};
  ASSERT_EQ(::stat((dir.path + "/a/b/f").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat((dir.path + "/a/b").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
  EXPECT_EQ(checksum_trailer(std::string(65536, 'x')).size(), 8u);
  ASSERT_TRUE(write_cache_file(dir.path + "/plain", "hello", Verify::kNone, 0600));
  EXPECT_EQ(slurp(dir.path + "/plain"), "hello");
  const uint32_t known = 0x01020304;  // taken as they are
  ASSERT_TRUE(write_cache_file(dir.path + "/known", "hello", Verify::kExtend, 0600, false, {&known, 1}));
  EXPECT_EQ(slurp(dir.path + "/known"), std::string("hello\x01\x02\x03\x04"));
}

TEST(CacheFile, EveryRangeIsReadAsItWasWritten) {
  Folder dir;
  auto text = pattern(100'000, 1);
  std::string path = dir.path + "/f";
  ASSERT_TRUE(write_cache_file(path, text, Verify::kFull, 0600));
  for (Verify level : {Verify::kNone, Verify::kFull, Verify::kShrink, Verify::kExtend}) {
    auto file = CacheFile::open(path, 100'000, level);
    ASSERT_TRUE(file);
    for (uint32_t off : {0u, 1u, 32767u, 32768u, 65535u, 99'000u, 99'999u})
      for (uint32_t n : {1u, 4096u, 32768u, 70'000u, 100'000u}) {
        uint32_t size = std::min(n, 100'000 - off);
        std::string got(size, '\0');
        ASSERT_TRUE((*file)->read(off, std::span(got))) << off << " " << n;
        ASSERT_EQ(got, text.substr(off, size)) << off << " " << n;
      }
  }
}

TEST(CacheFile, AWrongByteIsNoticedAtEachLevelAsSpecified) {
  Folder dir;
  auto text = pattern(100'000, 2);
  std::string path = dir.path + "/f";
  ASSERT_TRUE(write_cache_file(path, text, Verify::kFull, 0600));
  {
    std::fstream out(path, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(40'000);
    out.put(static_cast<char>(~text[40'000]));
  }
  auto read = [&](Verify level, uint32_t off, uint32_t size) {
    std::string got(size, '\0');
    auto file = CacheFile::open(path, 100'000, level);
    return file && (*file)->read(off, std::span(got)).has_value();
  };
  EXPECT_TRUE(read(Verify::kNone, 0, 100'000));
  EXPECT_FALSE(read(Verify::kFull, 0, 100'000));
  EXPECT_TRUE(read(Verify::kFull, 39'000, 2'000));
  EXPECT_TRUE(read(Verify::kShrink, 39'000, 2'000));
  EXPECT_FALSE(read(Verify::kShrink, 30'000, 40'000));
  EXPECT_FALSE(read(Verify::kExtend, 50'000, 10));
  EXPECT_TRUE(read(Verify::kExtend, 70'000, 10));
}

// What comes from the disk is checked each time; what was found right in memory is not, for a while.
TEST(CacheFile, ASegmentInMemoryIsCheckedOnce) {
  Folder dir;
  auto text = pattern(100'000, 2);
  std::string path = dir.path + "/f", got(10, '\0'), run(40'000, '\0');
  ASSERT_TRUE(write_cache_file(path, text, Verify::kFull, 0600, true));
  auto open = CacheFile::open(path, 100'000, Verify::kExtend), other = CacheFile::open(path, 100'000, Verify::kExtend);
  ASSERT_TRUE(open && other);
  ASSERT_TRUE((*open)->read_at_hand(39'990, std::span(got)));
  {
    std::fstream out(path, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(40'000);
    out.put(static_cast<char>(~text[40'000]));
  }
  EXPECT_TRUE((*open)->read_at_hand(39'990, std::span(got)));
  EXPECT_EQ(got, text.substr(39'990, 10));
  EXPECT_FALSE((*other)->read_at_hand(39'990, std::span(got))) << "not checked yet";
  EXPECT_FALSE((*open)->read(39'990, std::span(got))) << "perhaps from the disk";
  EXPECT_FALSE((*open)->read_at_hand(30'000, std::span(run))) << "a whole segment";
  EXPECT_TRUE((*open)->read_at_hand(70'000, std::span(got))) << "of segments that are right";
}

TEST(CacheFile, WrongSizesAndFooters) {
  Folder dir;
  auto write = [&](const std::string& text) { std::ofstream(dir.path + "/f", std::ios::binary) << text; };
  auto opens = [&] { return CacheFile::open(dir.path + "/f", 5, Verify::kExtend).has_value(); };
  EXPECT_EQ(code_of(CacheFile::open(dir.path + "/none", 5, Verify::kExtend)), ENOENT);
  write("hell");
  EXPECT_FALSE(opens());
  write("hello");
  EXPECT_TRUE(opens());
  write(std::string("hello\x9a\x71\xbb\x4c") + "junk");
  EXPECT_FALSE(opens());
  std::string footer("\x46\x53\x00\x10\x82\xa4\x74\x69\x65\x72\xcc\x01\xa3\x70\x61\x64\xc4\x02\x00\x00", 20);
  write(std::string("hello\x9a\x71\xbb\x4c") + footer);
  EXPECT_TRUE(opens());
}

struct Disk {
  explicit Disk(std::vector<std::string> dirs, uint64_t size = 100 << 20) {
    options.cache.dirs = std::move(dirs);
    options.cache.size_bytes = size;
    options.cache.free_space_ratio = 0.0001;  // the machine's disk may be nearly full
    format.uuid = "11111111-2222-4333-8444-555555555555";
    format.block_size_kib = 64;
    open();
  }
  void open() { cache = make_disk_cache(options, format, system_clock(), stats); }
  BufferPtr buffer(std::string_view text) {
    auto memory = pool.get(text.size(), 1000);
    std::copy(text.begin(), text.end(), memory->data());
    memory->set_size(text.size());
    return memory;
  }
  std::string read(const BlockId& id) {
    std::string text(id.bytes, '\0');
    return cache->read(id, 0, std::span(text)) ? text : "";
  }
  bool written(const std::string& path) {
    return eventually([&] { return fs::exists(path); });
  }
  DataOptions options;
  Format format;
  DataStats stats;
  Budget budget{64 << 20};
  BufferPool pool{budget, 65536};
  std::unique_ptr<BlockCache> cache;
};

constexpr BlockId kBlock{SliceId{19}, 2, 3000};

TEST(DiskCache, LayoutAndWarmRestart) {
  Folder dir;
  Disk disk({dir.path});
  auto text = pattern(3000, 3);
  std::string root = dir.path + "/" + disk.format.uuid;
  disk.cache->put(kBlock, disk.buffer(text), false);
  EXPECT_EQ(disk.read(kBlock), text);  // at once, from the queue
  ASSERT_TRUE(disk.written(root + "/raw/chunks/0/0/19_2_3000"));
  EXPECT_EQ(disk.read(kBlock), text);
  EXPECT_EQ(slurp(root + "/.lock").size(), 36u);
  EXPECT_EQ(disk.cache->location(kBlock), root + "/");
  disk.cache->stop();
  disk.open();
  EXPECT_EQ(disk.read(kBlock), text);
  EXPECT_TRUE(eventually([&] { return disk.cache->usage() == std::pair<uint64_t, uint64_t>(1, 3000 + 4096); }));
  disk.cache->remove(kBlock);
  EXPECT_EQ(disk.read(kBlock), "");
  EXPECT_FALSE(fs::exists(root + "/raw/chunks/0/0/19_2_3000"));
  EXPECT_EQ(disk.budget.used(), 0);
}

TEST(DiskCache, ABlockThatIsExpectedIsReadIntoThePageCache) {
  Folder dir;
  Disk disk({dir.path});
  const BlockId id{SliceId{1}, 0, 1 << 20};
  auto text = pattern(id.bytes, 1);
  auto memory = disk.buffer(text);
  for (bool opened : {false, true}) {
    disk.cache->put(id, memory, false);
    std::string file = dir.path + "/" + disk.format.uuid + "/raw/chunks/0/0/1_0_1048576";
    ASSERT_TRUE(disk.written(file));
    ASSERT_TRUE(eventually([&] { return disk.cache->usage().first == 1; }));
    if (opened) {
      EXPECT_EQ(disk.read(id), text);
    }
    int fd = ::open(file.c_str(), O_RDONLY);
    ASSERT_EQ(::fsync(fd), 0);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    auto in_memory = [&](uint64_t offset) { return object::in_page_cache(fd, offset, 4096); };
    EXPECT_FALSE(in_memory(0));
    disk.cache->expect(id);
    EXPECT_TRUE(eventually([&] { return in_memory(0) && in_memory(id.bytes / 2) && in_memory(id.bytes - 4096); }));
    EXPECT_EQ(disk.read(id), text);
    ::close(fd);
    disk.cache->expect({SliceId{2}, 0, 1 << 20});  // not there
  }
}

TEST(DiskCache, ABrokenFileIsAMissAndGoes) {
  Folder dir;
  Disk disk({dir.path});
  disk.cache->put(kBlock, disk.buffer(pattern(3000, 3)), false);
  std::string file = dir.path + "/" + disk.format.uuid + "/raw/chunks/0/0/19_2_3000";
  ASSERT_TRUE(disk.written(file));
  disk.cache->stop();
  {
    std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(100);
    out << "wrong";
  }
  disk.open();
  EXPECT_EQ(disk.read(kBlock), "");
  EXPECT_FALSE(fs::exists(file));
}

TEST(DiskCache, StaysWithinItsSize) {
  for (const char* eviction : {"2-random", "lru", "none"}) {
    Folder dir;
    Disk disk({dir.path}, 10 * (3000 + 4096));
    disk.options.cache.eviction = eviction;
    disk.open();
    for (uint64_t i = 1; i <= 50; i++) disk.cache->put({SliceId{i}, 0, 3000}, disk.buffer(pattern(3000, i)), true);
    EXPECT_TRUE(eventually([&] {
      auto [blocks, bytes] = disk.cache->usage();
      return blocks > 0 && bytes <= 12 * (3000u + 4096);
    })) << eviction;
    disk.cache->stop();
    auto [blocks, bytes] = disk.cache->usage();
    EXPECT_LE(blocks, 12u) << eviction;
    size_t files = 0;
    for (auto& entry : fs::recursive_directory_iterator(dir.path))
      if (entry.is_regular_file() && entry.path().filename() != ".lock") files++;
    EXPECT_EQ(files, blocks) << eviction;
  }
}

TEST(DiskCache, SeveralDirectoriesShareTheBlocks) {
  Folder a, b, c;
  Disk disk({a.path, b.path, c.path});
  for (uint64_t i = 1; i <= 60; i++) disk.cache->put({SliceId{i}, 0, 3000}, disk.buffer(pattern(3000, i)), true);
  EXPECT_TRUE(eventually([&] { return disk.cache->usage().first == 60; }));
  std::map<std::string, int> where;
  for (uint64_t i = 1; i <= 60; i++) {
    where[disk.cache->location({SliceId{i}, 0, 3000})]++;
    ASSERT_EQ(disk.read({SliceId{i}, 0, 3000}), pattern(3000, i));
  }
  EXPECT_EQ(where.size(), 3u);
}

TEST(DiskCache, StagedBlocksAreNeverEvictedAndSurviveARestart) {
  Folder dir;
  Disk disk({dir.path}, 5 * (3000 + 4096));
  auto text = pattern(3000, 9);
  std::string root = dir.path + "/" + disk.format.uuid;
  ASSERT_TRUE(disk.cache->stage(kBlock, disk.buffer(text)));
  struct stat st {};
  ASSERT_EQ(::stat((root + "/rawstaging/chunks/0/0/19_2_3000").c_str(), &st), 0);
  EXPECT_EQ(st.st_nlink, 2u);
  for (uint64_t i = 100; i <= 150; i++) disk.cache->put({SliceId{i}, 0, 3000}, disk.buffer(pattern(3000, i)), true);
  EXPECT_EQ(disk.read(kBlock), text);
  disk.cache->remove(kBlock);  // only what is not staged can be removed
  EXPECT_EQ(disk.read(kBlock), text);
  disk.cache->stop();
  disk.open();
  auto staged = disk.cache->staged();
  ASSERT_EQ(staged.size(), 1u);
  EXPECT_EQ(staged[0].id, kBlock);
  auto back = disk.buffer(std::string(3000, '\0'));
  ASSERT_TRUE(disk.cache->read_staged(kBlock, back));
  EXPECT_EQ(back->view(), text);
  disk.cache->unstage(kBlock, false);
  EXPECT_FALSE(fs::exists(root + "/rawstaging/chunks/0/0/19_2_3000"));
  EXPECT_EQ(disk.read(kBlock), text);  // now an ordinary cached block
}

TEST(DiskCache, AFullDiskIsEmptiedAndGoesOn) {
  Folder dir;
  SmallDisk small(dir.path, "1m");
  ASSERT_TRUE(small.mounted);
  Disk disk({dir.path});
  for (uint64_t i = 1; i <= 100; i++) {
    disk.cache->put({SliceId{i}, 0, 60'000}, disk.buffer(pattern(60'000, i)), true);
    auto text = disk.read({SliceId{i}, 0, 60'000});
    EXPECT_TRUE(text.empty() || text == pattern(60'000, i));
  }
  EXPECT_TRUE(eventually([&] {
    disk.cache->put({SliceId{1000}, 0, 60'000}, disk.buffer(pattern(60'000, 1000)), true);
    return fs::exists(dir.path + "/" + disk.format.uuid + "/raw/chunks/0/1/1000_0_60000");
  }));
  EXPECT_EQ(disk.read({SliceId{1000}, 0, 60'000}), pattern(60'000, 1000));
  EXPECT_GT(disk.stats.cache_evictions, 0u);
}

TEST(DiskCache, ADiskThatFailsIsTakenOutAndComesBack) {
  Folder dir, other;
  SmallDisk bad(dir.path, "10m");
  ASSERT_TRUE(bad.mounted);
  Disk disk({dir.path, other.path});
  auto put_some = [&](uint64_t from) {
    for (uint64_t i = from; i < from + 40; i++)
      disk.cache->put({SliceId{i}, 0, 3000}, disk.buffer(pattern(3000, i)), true);
  };
  auto count_in = [&](const std::string& place, uint64_t from) {
    size_t there = 0;
    for (uint64_t i = from; i < from + 40; i++) there += disk.cache->location({SliceId{i}, 0, 3000}).starts_with(place);
    return there;
  };
  put_some(100);
  ASSERT_TRUE(eventually([&] { return disk.cache->usage().first == 40; }));
  EXPECT_GT(count_in(dir.path, 100), 5u);
  bad.make_read_only(true);
  put_some(200);  // those whose home fails are lost, until it is out
  EXPECT_TRUE(eventually([&] { return count_in(dir.path, 100) == 0; })) << "out of use";
  put_some(300);
  EXPECT_TRUE(eventually([&] { return count_in(other.path, 300) == 40; })) << "the other one takes them all";
  for (uint64_t i = 300; i < 340; i++) EXPECT_EQ(disk.read({SliceId{i}, 0, 3000}), pattern(3000, i));
  bad.make_read_only(false);
  EXPECT_TRUE(eventually([&] { return count_in(dir.path, 100) > 5; })) << "back in use";
  for (uint64_t i = 100; i < 140; i++) EXPECT_EQ(disk.read({SliceId{i}, 0, 3000}), pattern(3000, i));
}

TEST(DiskCache, ADiskThatHangsHoldsNobodyUp) {
  Folder dir;
  Disk disk({dir.path});
  disk.options.cache.disk_timeout_ms = 300;
  disk.open();
  disk.cache->put(kBlock, disk.buffer(pattern(3000, 3)), false);
  std::string file = dir.path + "/" + disk.format.uuid + "/raw/chunks/0/0/19_2_3000";
  ASSERT_TRUE(disk.written(file));
  ASSERT_TRUE(eventually([&] { return disk.cache->usage().first == 1; }));
  fs::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);  // opening it waits until somebody writes into it
  EXPECT_EQ(disk.read(kBlock), "");
  EXPECT_EQ(disk.cache->location(kBlock), "") << "out of use";
  int writer = ::open(file.c_str(), O_WRONLY | O_NONBLOCK);
  EXPECT_GE(writer, 0) << "nobody waits for it any more";
  fs::remove(file);
  ::close(writer);
  EXPECT_TRUE(eventually([&] {
    disk.cache->put(kBlock, disk.buffer(pattern(3000, 3)), true);
    return disk.read(kBlock) == pattern(3000, 3) && fs::exists(file);
  })) << "back in use";
}

// The callers upload what cannot be staged; what is staged already waits for the disk.
TEST(DiskCache, AWriteBackDiskThatHangsIsTakenOutAndComesBack) {
  Folder dir;
  Disk disk({dir.path});
  disk.options.writeback = true;
  disk.options.cache.disk_timeout_ms = 100;
  disk.open();
  auto stage = [&](uint64_t slice) {
    return disk.cache->stage({SliceId{slice}, 0, 3000}, disk.buffer(pattern(3000, slice)));
  };
  auto file = [&](const char* kind, const std::string& slice) {
    return dir.path + "/" + disk.format.uuid + "/" + kind + "/chunks/0/0/" + slice + "_0_3000";
  };
  ASSERT_TRUE(stage(1));
  ASSERT_TRUE(disk.cache->sync_staged());
  std::string fifo = file("rawstaging", "2") + ".tmp";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);  // opening it waits until somebody reads from it
  EXPECT_EQ(code_of(stage(2)), EIO);
  EXPECT_EQ(code_of(stage(3)), EIO) << "out of use";
  EXPECT_FALSE(fs::exists(file("rawstaging", "3"))) << "and not even asked";
  EXPECT_EQ(disk.read({SliceId{1}, 0, 3000}), pattern(3000, 1)) << "is nowhere else";
  EXPECT_TRUE(disk.cache->contains({SliceId{1}, 0, 3000}));
  auto memory = disk.buffer(std::string(3000, '\0'));
  EXPECT_EQ(code_of(disk.cache->read_staged({SliceId{1}, 0, 3000}, memory)), EAGAIN);
  EXPECT_TRUE(disk.cache->sync_staged()) << "nothing new is to be synced";
  disk.cache->unstage({SliceId{1}, 0, 3000}, true);  // its slice was deleted
  EXPECT_EQ(disk.read({SliceId{1}, 0, 3000}), "");
  int reader = ::open(fifo.c_str(), O_RDONLY | O_NONBLOCK);
  EXPECT_TRUE(eventually([&] { return !fs::exists(fifo) && !fs::exists(file("rawstaging", "2")); }))
      << "it was given up: the late one leaves nothing";
  ::close(reader);
  EXPECT_TRUE(eventually([&] { return stage(4).has_value(); })) << "back in use";
  EXPECT_FALSE(fs::exists(file("rawstaging", "1")));
  EXPECT_FALSE(fs::exists(file("raw", "1")));
  EXPECT_TRUE(disk.cache->read_staged({SliceId{4}, 0, 3000}, memory));
  EXPECT_EQ(memory->view(), pattern(3000, 4));
  EXPECT_TRUE(disk.cache->sync_staged());
}

TEST(Apart, ATaskIsGoneWhenItsCallerGoesOn) {
  Apart apart(2);
  for (int i = 0; i < 2000; i++) {
    auto held = std::make_shared<int>(i);
    ASSERT_EQ(apart.run<int>(std::chrono::seconds(60), [held] { return *held; }), i);
    ASSERT_EQ(held.use_count(), 1) << "a block would give its memory back to a budget that is gone";
  }
}

// Its folders hang while the cache is opened: nobody is held up, and what is there is found when it answers again.
TEST(DiskCache, ADiskThatHangsAtStartIsLookedThroughLater) {
  Folder dir;
  Disk disk({dir.path});
  disk.options.writeback = true;
  disk.options.cache.disk_timeout_ms = 300;
  disk.open();
  ASSERT_TRUE(disk.cache->stage({SliceId{1}, 0, 3000}, disk.buffer(pattern(3000, 1))));
  disk.cache->put({SliceId{2}, 0, 3000}, disk.buffer(pattern(3000, 2)), true);
  ASSERT_TRUE(disk.written(dir.path + "/" + disk.format.uuid + "/raw/chunks/0/0/2_0_3000"));
  disk.cache->stop();
  for (const char* kind : {"raw", "rawstaging"}) {
    disk.cache = nullptr;
    HangingDisk hangs(dir.path + "/" + disk.format.uuid + "/" + kind + "/chunks");
    ASSERT_TRUE(hangs.mounted);
    disk.open();
    EXPECT_TRUE(eventually([&] { return !disk.cache->contains({SliceId{2}, 0, 3000}); })) << "out of use: " << kind;
    size_t staged = disk.cache->staged().size();
    EXPECT_EQ(staged, kind == std::string("raw") ? 1u : 0u);
    hangs.answer();
    EXPECT_TRUE(eventually([&] {
      staged += disk.cache->staged().size();
      return staged == 1 && disk.cache->usage().first == 1;
    })) << "back in use and looked through: "
        << kind;
    EXPECT_EQ(disk.read({SliceId{2}, 0, 3000}), pattern(3000, 2));
    EXPECT_TRUE(disk.cache->is_staged({SliceId{1}, 0, 3000}));
    EXPECT_EQ(disk.read({SliceId{1}, 0, 3000}), pattern(3000, 1));
    disk.cache->stop();
  }
  HangingDisk hangs(dir.path);
  disk.cache = nullptr;
  disk.open();
  EXPECT_EQ(disk.cache, nullptr) << "there is no other directory";
}

TEST(DiskCache, ADirectoryThatIsRemovedIsMadeAnew) {
  Folder dir;
  Disk disk({dir.path});
  disk.cache->put(kBlock, disk.buffer(pattern(3000, 3)), false);
  std::string root = dir.path + "/" + disk.format.uuid;
  ASSERT_TRUE(disk.written(root + "/raw/chunks/0/0/19_2_3000"));
  disk.cache->stop();
  disk.open();
  fs::remove_all(root);
  EXPECT_EQ(disk.read(kBlock), "");
  disk.cache->put(kBlock, disk.buffer(pattern(3000, 3)), false);
  EXPECT_TRUE(disk.written(root + "/raw/chunks/0/0/19_2_3000"));
  EXPECT_EQ(disk.read(kBlock), pattern(3000, 3));
}

TEST(DiskCache, NoUsableDirectory) {
  Folder dir;
  std::ofstream(dir.path + "/file") << "x";
  Disk disk({dir.path + "/file"});
  EXPECT_EQ(disk.cache, nullptr);
}

TEST(MemoryCache, EvictsDownToItsSize) {
  DataStats stats;
  CacheOptions options;
  Budget budget(64 << 20);
  BufferPool pool(budget, 65536);
  auto cache = make_memory_cache(100'000, options, system_clock(), stats);
  for (uint64_t i = 1; i <= 100; i++) {
    auto memory = pool.get(3000, 1000);
    memory->set_size(3000);
    cache->put({SliceId{i}, 0, 3000}, memory, false);
  }
  EXPECT_LE(cache->usage().second, 100'000u);
  EXPECT_GT(cache->usage().first, 20u);
  EXPECT_TRUE(cache->contains({SliceId{100}, 0, 3000}));
}

}  // namespace
}  // namespace zest::data
