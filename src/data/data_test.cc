// The content layer over a real metadata engine and a real store, both in memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <thread>

#include "data/testing.h"

namespace zest::data {
namespace {

using object::Faults;
using testing::eventually;
using testing::pattern;
using testing::Quick;
using testing::Volume;

TEST(Data, WhatWasWrittenIsReadBeforeAndAfterFlush) {
  Volume v;
  Ino ino = v.create("f");
  auto text = pattern(300'000, 1);
  ASSERT_TRUE(v.write(ino, 0, text));
  EXPECT_EQ(v.length(ino), text.size());
  EXPECT_EQ(*v.read(ino, 0, 400'000), text);
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(v.meta->getattr({}, ino)->length, text.size());
  EXPECT_EQ(*v.read(ino, 0, 400'000), text);
  EXPECT_EQ(*v.read(ino, 299'990, 100), text.substr(299'990));
  EXPECT_EQ(*v.read(ino, 300'000, 100), "");
}

TEST(Data, HolesAreZeroes) {
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

TEST(Data, SequentialWriteOfNBlocksIsNPuts) {
  Volume v;
  Ino ino = v.create("f");
  auto text = pattern(64 << 14, 2);  // 16 blocks
  Quick quick;
  for (size_t at = 0; at < text.size(); at += 8192) ASSERT_TRUE(v.write(ino, at, text.substr(at, 8192)));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  if (quick.still()) {
    EXPECT_EQ(v.faults->count(Faults::kPut), 16u);
    EXPECT_EQ(v.meta->read_chunk(ino, 0)->records, 1u);
  }
  EXPECT_EQ(*v.read(ino, 0, text.size()), text);
}

TEST(Data, FullBlocksAreUploadedWhileTheSliceIsOpen) {
  Volume v;
  Ino ino = v.create("f");
  Quick quick;
  ASSERT_TRUE(v.write(ino, 0, pattern(3 * 65536 + 100, 3)));
  EXPECT_TRUE(eventually([&] { return v.objects() >= 3; }));
  auto length = v.meta->getattr({}, ino)->length;
  EXPECT_TRUE(!quick.still() || length == 0u);  // nothing is committed
}

TEST(Data, SmallRandomWritesShareObjects) {
  Volume v(Volume::small(), "none", 4096);
  Ino ino = v.create("f");
  std::string model(4 << 20, '\0');
  std::mt19937 random(7);
  Quick quick;
  for (int i = 0; i < 300; i++) {
    size_t at = random() % (model.size() / 4096) * 4096;
    auto text = pattern(4096, static_cast<uint64_t>(i));
    model.replace(at, text.size(), text);
    ASSERT_TRUE(v.write(ino, at, text));
  }
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_TRUE(!quick.still() || v.faults->count(Faults::kPut) <= 3u);
  EXPECT_EQ(*v.read(ino, 0, model.size()), model.substr(0, v.length(ino)));
  // Their shared object lives until the last record of it is gone.
  ASSERT_TRUE(v.meta->compact_chunk(ino, 0));
  v.meta->drain_deletes();
  EXPECT_EQ(*v.read(ino, 0, model.size()), model.substr(0, v.length(ino)));
  ASSERT_TRUE(v.write(ino, 0, "x"));
  model[0] = 'x';
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(*v.read(ino, 0, model.size()), model.substr(0, v.length(ino)));
}

// The records of one shared object are dropped one after the other: it must live as long as any of them does, and go
// with the last.
void share_and_drop(const std::string& engine) {
  Volume v(Volume::small(), "none", 1024, engine);
  Ino ino = v.create("f"), other = v.create("other");
  std::string model(2 << 20, '\0');
  Quick quick;
  for (size_t i = 0; i < 64; i++) {
    size_t at = (i * 37 % 64) * 32768;
    auto text = pattern(1000, i + 1);
    model.replace(at, text.size(), text);
    ASSERT_TRUE(v.write(ino, at, text));
  }
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_TRUE(!quick.still() || v.objects() == 1u);
  size_t length = v.length(ino);
  model.resize(length);
  ASSERT_TRUE(v.meta->copy_file_range({}, ino, 0, other, 0, length));
  ASSERT_TRUE(v.meta->truncate({}, ino, 40'000, true));
  v.data->invalidate(ino, 0, UINT64_MAX);
  ASSERT_TRUE(v.meta->compact_chunk(ino, 0));
  v.meta->drain_deletes();
  EXPECT_EQ(*v.read(ino, 0, 2 << 20), model.substr(0, 40'000));
  EXPECT_EQ(*v.read(other, 0, 2 << 20), model);
  ASSERT_TRUE(v.meta->close(ino));
  ASSERT_TRUE(v.meta->unlink({}, kRootIno, "f"));
  v.meta->drain_deletes();
  EXPECT_EQ(*v.read(other, 0, 2 << 20), model);
  ASSERT_TRUE(v.meta->compact_chunk(other, 0));
  v.meta->drain_deletes();
  EXPECT_EQ(*v.read(other, 0, 2 << 20), model);
  ASSERT_TRUE(v.meta->close(other));
  ASSERT_TRUE(v.meta->unlink({}, kRootIno, "other"));
  ASSERT_TRUE(v.meta->clean_deleted_files(-1));
  ASSERT_TRUE(v.meta->clean_slices());
  v.meta->drain_deletes();
  EXPECT_EQ(v.objects(), 0u);
}

TEST(Data, SharedObjectsLiveAsLongAsTheirLastRecord) { share_and_drop(""); }

TEST(Data, SharedObjectsLiveAsLongAsTheirLastRecordOnSqlite) {
  testing::Folder folder;
  share_and_drop("sqlite3://" + folder.path + "/meta.db");
}

TEST(Data, ConcurrentReadersOfABlockShareOneGet) {
  Volume v(Volume::small(), "none", 1024);
  Ino ino = v.create("f");
  auto text = pattern(1 << 20, 4);
  ASSERT_TRUE(v.write(ino, 0, text));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
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

TEST(Data, SmallReadsOfABigFileInOrderFetchEachBlockOnce) {
  Volume v(Volume::small(), "none", 256);
  Ino ino = v.create("f");
  auto text = pattern(2 << 20, 5);  // 8 blocks
  ASSERT_TRUE(v.write(ino, 0, text));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  auto before = v.faults->count(Faults::kGet);
  auto handle = v.data->open_reader(ino);
  for (size_t at = 0; at < text.size(); at += 16384)
    ASSERT_EQ(*v.read(*handle, ino, at, 16384), text.substr(at, 16384)) << at;
  EXPECT_LE(v.faults->count(Faults::kGet) - before, 9u);  // and the first, small one
}

TEST(Data, RandomReadsFetchOnlyTheirRange) {
  Volume v(Volume::small(), "none", 1024);
  Ino ino = v.create("f");
  auto text = pattern(8 << 20, 6);
  ASSERT_TRUE(v.write(ino, 0, text));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  auto before = v.faults->bytes_got();
  auto handle = v.data->open_reader(ino);
  for (size_t at : {5'000'000, 1'000'000, 7'000'000, 3'000'000})
    ASSERT_EQ(*v.read(*handle, ino, at, 4096), text.substr(at, 4096));
  EXPECT_EQ(v.faults->bytes_got() - before, 4 * 4096u);
}

TEST(Data, AFailedUploadIsToldOnceThenHealed) {
  auto options = Volume::small();
  options.io_retries = 0;
  Volume v(options);
  Ino ino = v.create("f");
  ASSERT_TRUE(v.write(ino, 0, "before"));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  v.faults->fail_next(Faults::kPut, 1);
  ASSERT_TRUE(v.write(ino, 0, "LOST!!"));
  EXPECT_EQ(code_of(v.data->flush(ino, nullptr)), EIO);
  EXPECT_EQ(*v.read(ino, 0, 100), "before");
  EXPECT_TRUE(v.data->flush(ino, nullptr));
  ASSERT_TRUE(v.write(ino, 0, "after!"));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(*v.read(ino, 0, 100), "after!");
}

TEST(Data, AnUploadThatFailsForAWhileIsRetried) {
  Volume v;
  Ino ino = v.create("f");
  v.faults->fail_next(Faults::kPut, 2);
  ASSERT_TRUE(v.write(ino, 0, "patience"));
  EXPECT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(*v.read(ino, 0, 100), "patience");
}

TEST(Data, LengthNeverCoversAFailedRange) {
  auto options = Volume::small();
  options.io_retries = 0;
  Volume v(options);
  Ino ino = v.create("f");
  v.faults->fail_keys({"chunks/0/0/1_0_65536", "testvol/chunks/0/0/1_0_65536"});
  ASSERT_TRUE(v.write(ino, 0, pattern(65536, 1)));
  Result<void> later = v.write(ino, 65536, pattern(1000, 2));
  auto flushed = v.data->flush(ino, nullptr);
  EXPECT_TRUE(!later || !flushed);
  auto length = v.meta->getattr({}, ino)->length;
  EXPECT_EQ(length, 0u);
  v.faults->clear();
  ASSERT_TRUE(v.write(ino, 0, "good"));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(*v.read(ino, 0, 100), "good");
}

TEST(Data, LostBlockIsEioNeverZeroes) {
  auto options = Volume::small();
  options.io_retries = 1;
  Volume v(options);
  Ino ino = v.create("f");
  ASSERT_TRUE(v.write(ino, 0, pattern(200'000, 9)));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
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

TEST(Data, ShortAndBrokenBodiesAreRetried) {
  Volume v(Volume::small(), "lz4");
  Ino ino = v.create("f");
  auto text = pattern(200'000, 10);
  ASSERT_TRUE(v.write(ino, 0, text));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  v.faults->shorten_bodies(1);
  EXPECT_EQ(*v.read(ino, 0, 200'000), text);
}

TEST(Data, CommitErrorsKeepTheirErrnoAndLeaveNoObjects) {
  Volume v;
  Ino ino = v.create("f");
  auto format = v.meta->format();
  format.capacity = 1 << 20;
  ASSERT_TRUE(v.meta->change_format(format));
  ASSERT_TRUE(v.write(ino, 0, pattern(3 << 20, 11)));
  EXPECT_EQ(code_of(v.data->flush(ino, nullptr)), ENOSPC);
  EXPECT_EQ(v.meta->getattr({}, ino)->length, 0u);
  EXPECT_TRUE(eventually([&] { return v.objects() == 0; }));
  ASSERT_TRUE(v.write(ino, 0, "fits"));
  EXPECT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(*v.read(ino, 0, 100), "fits");
}

TEST(Data, OldSlicesAreCommittedWithoutAFlush) {
  Volume v;
  Ino ino = v.create("f");
  ASSERT_TRUE(v.write(ino, 0, "soon"));
  EXPECT_TRUE(eventually([&] { return v.meta->getattr({}, ino)->length == 4; }));
  EXPECT_TRUE(eventually([&] { return v.data->length(ino, 0) == 0 || v.data->length(ino, 0) == 4; }));
}

TEST(Data, InterleavedStreamsMakeTwoSlices) {
  Volume v;
  Ino ino = v.create("f");
  auto a = pattern(500'000, 1), b = pattern(500'000, 2);
  Quick quick;
  for (size_t at = 0; at < a.size(); at += 50'000) {
    ASSERT_TRUE(v.write(ino, at, a.substr(at, 50'000)));
    ASSERT_TRUE(v.write(ino, 10'000'000 + at, b.substr(at, 50'000)));
  }
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_TRUE(!quick.still() || v.meta->read_chunk(ino, 0)->records == 2u);
  EXPECT_EQ(*v.read(ino, 0, 500'000), a);
  EXPECT_EQ(*v.read(ino, 10'000'000, 500'000), b);
}

TEST(Data, MemoryStaysWithinTheBudget) {
  auto options = Volume::small();
  options.buffer_size = 4 << 20;
  Volume v(options);
  v.faults->delay(Faults::kPut, 2);
  std::vector<std::thread> writers;
  std::atomic<bool> stop{false};
  std::atomic<int64_t> peak{0};
  std::thread watch([&] {
    while (!stop) {
      auto used = v.data->budget().used();
      if (used > peak) peak = used;
      std::this_thread::yield();
    }
  });
  std::vector<Ino> inos;
  for (int i = 0; i < 4; i++) inos.push_back(v.create("f" + std::to_string(i)));
  for (int i = 0; i < 4; i++)
    writers.emplace_back([&, i] {
      for (int n = 0; n < 40; n++)
        EXPECT_TRUE(v.write(inos[static_cast<size_t>(i)], static_cast<uint64_t>(n) * 200'000,
                            pattern(200'000, static_cast<uint64_t>(i * 100 + n))));
      EXPECT_TRUE(v.data->flush(inos[static_cast<size_t>(i)], nullptr));
    });
  for (auto& writer : writers) writer.join();
  stop = true;
  watch.join();
  EXPECT_LE(peak, 4 << 20);
  for (int i = 0; i < 4; i++)
    for (int n = 0; n < 40; n++)
      ASSERT_EQ(*v.read(inos[static_cast<size_t>(i)], static_cast<uint64_t>(n) * 200'000, 200'000),
                pattern(200'000, static_cast<uint64_t>(i * 100 + n)));
}

TEST(Data, MtimeOfBufferedDataAndOfUtimes) {
  Volume v;
  Ino ino = v.create("f");
  Quick quick;
  ASSERT_TRUE(v.write(ino, 0, "x"));
  auto shown = v.data->mtime(ino, Time{1, 0});
  v.data->set_mtime(ino, Time{12345, 6});
  auto set = v.data->mtime(ino, Time{1, 0});
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  if (!quick.still()) return;  // the data may have been committed before it was looked at
  EXPECT_NE(shown, (Time{1, 0}));
  EXPECT_EQ(set, (Time{12345, 6}));
  EXPECT_EQ(v.meta->getattr({}, ino)->mtime, (Time{12345, 6}));
}

// Random operations on a few files, compared with strings after each read.
void random_history(Volume& v, uint64_t seed, int steps) {
  std::mt19937_64 random(seed);
  struct File {
    Ino ino;
    std::string model;
  };
  std::vector<File> files;
  for (int i = 0; i < 3; i++) files.push_back({v.create("r" + std::to_string(i)), ""});
  constexpr size_t kMax = 3 << 20;
  auto handle = v.data->open_reader(files[0].ino);
  for (int step = 0; step < steps; step++) {
    File& f = files[random() % files.size()];
    switch (random() % 12) {
      case 0: {
        size_t length = random() % kMax;
        ASSERT_TRUE(v.data->flush(f.ino, nullptr));
        ASSERT_TRUE(v.meta->truncate({}, f.ino, length, true));
        v.data->invalidate(f.ino, 0, UINT64_MAX);
        f.model.resize(length, '\0');
        break;
      }
      case 1: {
        if (f.model.empty()) break;
        size_t at = random() % f.model.size(), n = random() % 300'000 + 1;
        ASSERT_TRUE(v.data->flush(f.ino, nullptr));
        ASSERT_TRUE(v.meta->fallocate({}, f.ino, meta::kFallocPunchHole | meta::kFallocKeepSize, at, n));
        v.data->invalidate(f.ino, at, n);
        for (size_t i = at; i < std::min(f.model.size(), at + n); i++) f.model[i] = '\0';
        break;
      }
      case 2: {
        File& to = files[random() % files.size()];
        if (to.ino == f.ino || f.model.empty()) break;
        size_t from = random() % f.model.size(), at = random() % kMax, n = random() % 500'000 + 1;
        n = std::min(n, f.model.size() - from);
        ASSERT_TRUE(v.data->flush(f.ino, nullptr));
        ASSERT_TRUE(v.data->flush(to.ino, nullptr));
        auto copied = v.meta->copy_file_range({}, f.ino, from, to.ino, at, n);
        ASSERT_TRUE(copied);
        v.data->invalidate(to.ino, at, n);
        if (to.model.size() < at + copied->bytes) to.model.resize(at + copied->bytes, '\0');
        to.model.replace(at, copied->bytes, f.model.substr(from, copied->bytes));
        break;
      }
      case 3: ASSERT_TRUE(v.data->flush(f.ino, nullptr)); break;
      case 4:
      case 5:
      case 6: {
        size_t at = random() % kMax, n = random() % 200'000;
        auto got = v.read(f.ino, at, n);
        ASSERT_TRUE(got) << got.error().message();
        ASSERT_TRUE(*got == (at < f.model.size() ? f.model.substr(at, n) : "")) << "step " << step;
        break;
      }
      case 7: {
        ASSERT_TRUE(v.data->flush(f.ino, nullptr));
        (void)v.meta->compact_chunk(f.ino, 0);  // may fail where the store does; must not harm
        break;
      }
      default: {
        size_t at = random() % 3 == 0 ? f.model.size() : random() % kMax;
        size_t n = random() % (random() % 4 == 0 ? 300'000 : 5'000) + 1;
        auto text = pattern(n, random());
        if (f.model.size() < at + n) f.model.resize(at + n, '\0');
        f.model.replace(at, n, text);
        auto wrote = v.write(f.ino, at, text);
        ASSERT_TRUE(wrote) << wrote.error().message();
        ASSERT_EQ(v.length(f.ino), f.model.size());
      }
    }
  }
  for (auto& f : files) {
    ASSERT_TRUE(v.data->flush(f.ino, nullptr));
    ASSERT_TRUE(*v.read(f.ino, 0, kMax + 600'000) == f.model);
  }
  v.meta->drain_deletes();
  for (auto& f : files) ASSERT_TRUE(*v.read(f.ino, 0, kMax + 600'000) == f.model);
}

TEST(Data, RandomHistoryPlain) {
  Volume v;
  random_history(v, 1, 600);
}

TEST(Data, RandomHistoryCompressedWithMemoryCache) {
  auto options = Volume::small();
  options.cache.dirs = {"memory"};
  options.cache.size_bytes = 1 << 20;
  Volume v(options, "zstd");
  random_history(v, 2, 400);
}

TEST(Data, RandomHistoryWithFlakyStore) {
  auto options = Volume::small();
  options.io_retries = 10;
  Volume v(options, "none", 256);
  v.faults->fail_randomly(Faults::kGet | Faults::kPut, 3, 42);
  random_history(v, 3, 120);
}

TEST(Data, ReadersAndWritersAtOnce) {
  Volume v;
  Ino ino = v.create("f");
  constexpr size_t kRegion = 100'000;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  // Each writer fills its own region with one letter after the other: a reader sees letters in order, never a mix of
  // old after new within what one write covers, and never zeroes after the first round.
  for (int w = 0; w < 3; w++)
    threads.emplace_back([&, w] {
      for (char c = 'a'; c <= 'p'; c++) {
        EXPECT_TRUE(v.write(ino, static_cast<uint64_t>(w) * kRegion, std::string(kRegion, c)));
        if (c % 4 != 0) continue;
        EXPECT_TRUE(v.data->flush(ino, nullptr));
      }
    });
  for (int r = 0; r < 2; r++)
    threads.emplace_back([&, r] {
      auto handle = v.data->open_reader(ino);
      char last = 0;
      while (!stop) {
        auto got = v.read(*handle, ino, static_cast<uint64_t>(r) * kRegion + 500, 100);
        ASSERT_TRUE(got) << got.error().message();
        if (got->empty() || (*got)[0] == 0) {
          ASSERT_EQ(last, 0) << got->size();
          continue;
        }
        ASSERT_EQ(*got, std::string(got->size(), (*got)[0]));
        ASSERT_GE((*got)[0], last);
        last = (*got)[0];
      }
    });
  for (int w = 0; w < 3; w++) threads[static_cast<size_t>(w)].join();
  stop = true;
  for (size_t r = 3; r < threads.size(); r++) threads[r].join();
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(*v.read(ino, 0, 3 * kRegion), std::string(3 * kRegion, 'p'));
}

DataOptions with_disk(const testing::Folder& folder) {
  auto options = Volume::small();
  options.cache.dirs = {folder.path};
  options.cache.size_bytes = 64 << 20;
  options.cache.free_space_ratio = 0.0001;
  return options;
}

TEST(Data, WarmReadsTouchNoStore) {
  testing::Folder folder;
  Volume v(with_disk(folder));
  Ino ino = v.create("f");
  auto text = pattern(500'000, 1);
  ASSERT_TRUE(v.write(ino, 0, text));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
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

TEST(Data, RandomHistoryWithDiskCache) {
  testing::Folder folder;
  auto options = with_disk(folder);
  options.cache.size_bytes = 2 << 20;
  Volume v(options, "lz4");
  random_history(v, 4, 300);
}

TEST(Data, WritebackStagesThenUploads) {
  testing::Folder folder;
  auto options = with_disk(folder);
  options.writeback = true;
  Volume v(options);
  Ino ino = v.create("f");
  auto text = pattern(200'000, 2);
  v.faults->hold(Faults::kPut);  // the store hangs
  ASSERT_TRUE(v.write(ino, 0, text));
  ASSERT_TRUE(v.data->flush(ino, nullptr));  // and is not waited for
  EXPECT_EQ(v.meta->getattr({}, ino)->length, text.size());
  EXPECT_EQ(*v.read(ino, 0, 200'000), text);
  EXPECT_EQ(v.objects(), 0u);
  EXPECT_GT(v.data->stats().staged_blocks, 0u);
  v.faults->release();
  EXPECT_TRUE(eventually([&] { return v.objects() == 4 && v.data->stats().staged_blocks == 0; }));
  EXPECT_EQ(*v.read(ino, 0, 200'000), text);
}

TEST(Data, StagedBlocksOfAnEarlierClientAreUploadedInEveryMode) {
  testing::Folder folder;
  auto options = with_disk(folder);
  options.writeback = true;
  options.upload_delay_ms = 3'600'000;
  Volume v(options);
  Ino ino = v.create("f");
  auto text = pattern(200'000, 3);
  ASSERT_TRUE(v.write(ino, 0, text));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(v.objects(), 0u);
  (void)v.meta->close_session();
  ASSERT_TRUE(v.data->close());
  v.meta->set_data_hooks(nullptr);
  v.data.reset();
  EXPECT_EQ(v.objects(), 0u);
  options.writeback = false;
  options.upload_delay_ms = 0;
  v.open(options);
  EXPECT_TRUE(eventually([&] { return v.objects() == 4; }));
  EXPECT_EQ(*v.read(ino, 0, 200'000), text);
}

TEST(Data, DeletedSlicesLeaveNothingStaged) {
  testing::Folder folder;
  auto options = with_disk(folder);
  options.writeback = true;
  options.upload_delay_ms = 3'600'000;
  Volume v(options);
  Ino ino = v.create("f");
  ASSERT_TRUE(v.write(ino, 0, pattern(200'000, 3)));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(v.data->stats().staged_blocks, 4u);
  auto view = v.meta->read_chunk(ino, 0);
  ASSERT_TRUE(view);
  ASSERT_TRUE(v.data->delete_slice(view->pieces[0].id, view->pieces[0].size));
  EXPECT_EQ(v.data->stats().staged_blocks, 0u);
  EXPECT_EQ(v.data->cached().first, 0u);
}

TEST(Data, RandomHistoryWithWriteback) {
  testing::Folder folder;
  auto options = with_disk(folder);
  options.writeback = true;
  Volume v(options);
  v.faults->fail_randomly(Faults::kPut, 5, 5);
  random_history(v, 6, 150);
}

TEST(Data, AnOutageOfTheStoreEndsWithErrorsAndWorkResumes) {
  auto options = Volume::small();
  options.io_retries = 1;
  Volume v(options);
  Ino ino = v.create("f");
  ASSERT_TRUE(v.write(ino, 0, pattern(100'000, 1)));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  v.faults->fail_next(Faults::kAll, Faults::kForever);
  EXPECT_EQ(code_of(v.read(ino, 0, 1000)), EIO);
  ASSERT_TRUE(v.write(ino, 0, pattern(100'000, 2)));
  EXPECT_EQ(code_of(v.data->flush(ino, nullptr)), EIO);
  v.faults->clear();
  EXPECT_EQ(*v.read(ino, 0, 100'000), pattern(100'000, 1));
  ASSERT_TRUE(v.write(ino, 0, pattern(100'000, 2)));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(*v.read(ino, 0, 100'000), pattern(100'000, 2));
}

TEST(Data, CancelledReadsEnd) {
  Volume v;
  Ino ino = v.create("f");
  ASSERT_TRUE(v.write(ino, 0, pattern(1000, 1)));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  v.faults->fail_next(Faults::kGet, Faults::kForever);
  std::atomic<bool> cancelled{true};
  auto handle = v.data->open_reader(ino);
  std::string into(1000, '\0');
  EXPECT_EQ(code_of(v.data->read(*handle, 1000, 0, std::span(into), &cancelled)), EINTR);
}

TEST(Data, BlocksOfASlowStoreAreFetchedInParts) {
  Volume v(Volume::small(), "none", 4096);
  Ino ino = v.create("f");
  auto text = pattern(16 << 20, 1);
  ASSERT_TRUE(v.write(ino, 0, text));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  v.faults->delay(Faults::kGet, 1000);
  auto before = v.faults->count(Faults::kGet);
  EXPECT_EQ(*v.read(ino, 4 << 20, 4 << 20), text.substr(4 << 20, 4 << 20));
  EXPECT_EQ(v.faults->count(Faults::kGet) - before, 1u);  // nothing is known of the store yet
  before = v.faults->count(Faults::kGet);
  EXPECT_EQ(*v.read(ino, 12 << 20, 4 << 20), text.substr(12 << 20, 4 << 20));
  EXPECT_EQ(v.faults->count(Faults::kGet) - before, 4u);
}

TEST(Data, AStreamKeepsManyRequestsUnderWayAtADistantStore) {
  auto options = Volume::small();
  options.buffer_size = 300 << 20;
  options.max_downloads = 200;
  Volume v(options, "none", 1024);
  Ino ino = v.create("f");
  auto text = pattern(64 << 20, 1);
  ASSERT_TRUE(v.write(ino, 0, text));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  v.faults->delay(Faults::kGet, 300);
  auto handle = v.data->open_reader(ino);
  for (size_t at = 0; at < text.size(); at += 128 << 10)
    ASSERT_TRUE(*v.read(*handle, ino, at, 128 << 10) == text.substr(at, 128 << 10)) << at;
  EXPECT_GE(v.faults->most_delayed(), 14u);
  EXPECT_LE(v.faults->most_delayed(), 20u);
  EXPECT_LE(v.faults->count(Faults::kGet), 64u + 3u) << "each block once, the first one in parts";
}

TEST(Data, WritebackUploadsItselfWhenTheDiskIsFull) {
  testing::Folder folder;
  auto options = with_disk(folder);
  options.writeback = true;
  options.upload_delay_ms = 3'600'000;
  options.cache.free_space_ratio = 1.0;  // no disk has that much room
  Volume v(options);
  Ino ino = v.create("f");
  auto text = pattern(200'000, 3);
  ASSERT_TRUE(v.write(ino, 0, text));
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(v.objects(), 4u);
  EXPECT_EQ(v.data->stats().staged_blocks, 0u);
  EXPECT_EQ(*v.read(ino, 0, 200'000), text);
}

}  // namespace
}  // namespace zest::data
