// Reads through the content layer over a real metadata engine and a real store, both in memory.
#include <gtest/gtest.h>

#include <thread>

#include "data/testing.h"

namespace zest::data {
namespace {

using object::Faults;
using testing::eventually;
using testing::Folder;
using testing::pattern;
using testing::Volume;

TEST(Reading, HolesAreZeroes) {
  Volume v;
  Ino ino = v.create("f");
  ASSERT_TRUE(v.write(ino, 100'000, "end"));
  EXPECT_EQ(*v.read(ino, 0, 100'003), std::string(100'000, '\0') + "end");
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(*v.read(ino, 0, 100'003), std::string(100'000, '\0') + "end");
  ASSERT_TRUE(v.meta->truncate({}, ino, 70'000'000, true));
  v.data->invalidate(ino, 0, UINT64_MAX);
  auto text = *v.read(ino, 69'000'000, 2'000'000);
  EXPECT_EQ(text, std::string(1'000'000, '\0'));
}

TEST(Reading, ConcurrentReadersOfABlockShareOneGet) {
  Volume v(Volume::small(), "none", 1024);
  auto text = pattern(1 << 20, 4);
  Ino ino = v.file("f", text);
  auto before = v.faults->count(Faults::kGet);
  v.faults->hold(Faults::kGet);
  std::vector<std::thread> readers;
  std::atomic<int> good{0}, started{0};
  for (int i = 0; i < 8; i++)
    readers.emplace_back([&] {
      auto handle = v.data->open_reader(ino);
      started++;
      auto got = v.read(*handle, ino, 0, 1 << 20);
      if (got && *got == text) good++;
    });
  EXPECT_TRUE(v.faults->wait_held(1));
  EXPECT_TRUE(eventually([&] { return started == 8; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // they have most likely joined; not needed to pass
  v.faults->release();
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(good, 8);
  EXPECT_GE(v.faults->count(Faults::kGet) - before, 1u);
}

TEST(Reading, SmallReadsOfABigFileInOrderFetchEachBlockOnce) {
  Volume v(Volume::small(), "none", 256);
  auto text = pattern(2 << 20, 5);  // 8 blocks
  Ino ino = v.file("f", text);
  auto before = v.faults->count(Faults::kGet);
  auto handle = v.data->open_reader(ino);
  for (size_t at = 0; at < text.size(); at += 16384)
    ASSERT_EQ(*v.read(*handle, ino, at, 16384), text.substr(at, 16384)) << at;
  EXPECT_LE(v.faults->count(Faults::kGet) - before, 9u);  // and the first, small one
}

TEST(Reading, BytesOfABlockInMemoryAreLent) {
  Volume v(Volume::small(), "none", 256);
  auto text = pattern(1 << 20, 15);
  Ino ino = v.file("f", text);
  auto handle = v.data->open_reader(ino);
  auto read = [&](uint64_t offset, size_t size, bool lends) {
    std::string into(size, '\xee');
    Lent lent;
    EXPECT_EQ(v.data->read(*handle, text.size(), offset, into, nullptr, &lent).value_or(0), size) << offset;
    EXPECT_EQ(lent.owner != nullptr, lends) << offset;
    EXPECT_EQ(lends ? std::string(lent.bytes.data(), lent.bytes.size()) : into, text.substr(offset, size)) << offset;
  };
  read(0, 200'000, true);
  read(200'000, 10'000, true);
  read(256 * 1024 - 100, 200, false);  // of two blocks
}

TEST(Reading, RandomReadsFetchOnlyTheirRange) {
  Volume v(Volume::small(), "none", 1024);
  auto text = pattern(8 << 20, 6);
  Ino ino = v.file("f", text);
  auto before = v.faults->bytes_got();
  auto handle = v.data->open_reader(ino);
  for (size_t at : {5'000'000, 1'000'000, 7'000'000, 3'000'000})
    ASSERT_EQ(*v.read(*handle, ino, at, 4096), text.substr(at, 4096));
  EXPECT_EQ(v.faults->bytes_got() - before, 4 * 4096u);
}

TEST(Reading, LostBlockIsEioNeverZeroes) {
  auto options = Volume::small();
  options.io_retries = 1;
  Volume v(options);
  Ino ino = v.file("f", pattern(200'000, 9));
  std::vector<std::string> keys;
  ASSERT_TRUE(object::list_all(*v.shared_store, "", [&](const object::ObjectInfo& info) {
    keys.push_back(info.key);
    return true;
  }));
  ASSERT_FALSE(keys.empty());
  for (auto& key : keys) {
    if (!key.ends_with("_1_65536")) continue;
    ASSERT_TRUE(v.shared_store->remove(key));
  }
  EXPECT_EQ(code_of(v.read(ino, 65536, 1000)), EIO);
  EXPECT_EQ(code_of(v.read(ino, 0, 200'000)), EIO);
  EXPECT_EQ(*v.read(ino, 0, 1000), pattern(200'000, 9).substr(0, 1000));  // no poison
}

TEST(Reading, ShortAndBrokenBodiesAreRetried) {
  Volume v(Volume::small(), "lz4");
  auto text = pattern(200'000, 10);
  Ino ino = v.file("f", text);
  v.faults->shorten_bodies(1);
  EXPECT_EQ(*v.read(ino, 0, 200'000), text);
}

TEST(Reading, WarmReadsTouchNoStore) {
  Folder folder;
  Volume v(Volume::with_disk(folder));
  auto text = pattern(500'000, 1);
  Ino ino = v.file("f", text);
  EXPECT_EQ(*v.read(ino, 0, 500'000), text);
  auto state = v.data->cache_file(ino, 500'000, Data::CacheAction::kWarmup);
  ASSERT_TRUE(state);
  EXPECT_EQ(state->blocks, 8u);
  EXPECT_TRUE(
      eventually([&] { return v.data->cache_file(ino, 500'000, Data::CacheAction::kCheck)->cached_bytes == 500'000; }));
  auto gets = v.faults->count(Faults::kGet);
  for (size_t at = 0; at < 490'000; at += 10'000) ASSERT_EQ(*v.read(ino, at, 4096), text.substr(at, 4096));
  EXPECT_EQ(v.faults->count(Faults::kGet), gets);
  EXPECT_GE(v.data->stats().cache_hits, 49u);
  auto evicted = v.data->cache_file(ino, 500'000, Data::CacheAction::kEvict);
  ASSERT_TRUE(evicted);
  EXPECT_EQ(evicted->cached_blocks, 0u);
  EXPECT_EQ(*v.read(ino, 0, 500'000), text);
}

TEST(Reading, CancelledReadsEnd) {
  Volume v;
  Ino ino = v.file("f", pattern(1000, 1));
  v.faults->fail_next(Faults::kGet, Faults::kForever);
  std::atomic<bool> cancelled{true};
  auto handle = v.data->open_reader(ino);
  std::string into(1000, '\0');
  EXPECT_EQ(code_of(v.data->read(*handle, 1000, 0, std::span(into), &cancelled)), EINTR);
}

TEST(Reading, BlocksOfASlowStoreAreFetchedInParts) {
  Volume v(Volume::small(), "none", 4096);
  auto text = pattern(16 << 20, 1);
  Ino ino = v.file("f", text);
  v.faults->delay(Faults::kGet, 1000);
  auto before = v.faults->count(Faults::kGet);
  EXPECT_EQ(*v.read(ino, 4 << 20, 4 << 20), text.substr(4 << 20, 4 << 20));
  EXPECT_EQ(v.faults->count(Faults::kGet) - before, 1u);  // nothing is known of the store yet
  before = v.faults->count(Faults::kGet);
  EXPECT_EQ(*v.read(ino, 12 << 20, 4 << 20), text.substr(12 << 20, 4 << 20));
  EXPECT_EQ(v.faults->count(Faults::kGet) - before, 4u);
}

TEST(Reading, AStreamKeepsManyRequestsUnderWayAtADistantStore) {
  auto options = Volume::small();
  options.buffer_size = 300 << 20;
  options.max_downloads = 200;
  Volume v(options, "none", 1024);
  auto text = pattern(64 << 20, 1);
  Ino ino = v.file("f", text);
  v.faults->delay(Faults::kGet, 300);
  auto handle = v.data->open_reader(ino);
  for (size_t at = 0; at < text.size(); at += 128 << 10)
    ASSERT_TRUE(*v.read(*handle, ino, at, 128 << 10) == text.substr(at, 128 << 10)) << at;
  EXPECT_GE(v.faults->most_delayed(), 14u);
  EXPECT_LE(v.faults->most_delayed(), 20u);
  EXPECT_LE(v.faults->count(Faults::kGet), 64u + 3u) << "each block once, the first one in parts";
}

}  // namespace
}  // namespace zest::data
