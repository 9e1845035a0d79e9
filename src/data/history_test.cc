// Random work on files, compared with a model, in each mode of the content layer.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "data/testing.h"

namespace zest::data {
namespace {

using object::Faults;
using testing::Folder;
using testing::pattern;
using testing::Volume;

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

TEST(History, RandomHistoryPlain) {
  Volume v;
  random_history(v, 1, 600);
}

TEST(History, RandomHistoryCompressedWithMemoryCache) {
  auto options = Volume::small();
  options.cache.dirs = {"memory"};
  options.cache.size_bytes = 1 << 20;
  Volume v(options, "zstd");
  random_history(v, 2, 400);
}

TEST(History, RandomHistoryWithFlakyStore) {
  auto options = Volume::small();
  options.io_retries = 10;
  Volume v(options, "none", 256);
  v.faults->fail_randomly(Faults::kGet | Faults::kPut, 3, 42);
  random_history(v, 3, 120);
}

TEST(History, ReadersAndWritersAtOnce) {
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

TEST(History, RandomHistoryWithDiskCache) {
  Folder folder;
  auto options = Volume::with_disk(folder);
  options.cache.size_bytes = 2 << 20;
  Volume v(options, "lz4");
  random_history(v, 4, 300);
}

TEST(History, RandomHistoryWithWriteback) {
  Folder folder;
  auto options = Volume::with_disk(folder);
  options.writeback = true;
  Volume v(options);
  v.faults->fail_randomly(Faults::kPut, 5, 5);
  random_history(v, 6, 150);
}

}  // namespace
}  // namespace zest::data
