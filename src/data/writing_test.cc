// Writes through the content layer over a real metadata engine and a real store, both in memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "data/testing.h"

namespace zest::data {
namespace {

using object::Faults;
using testing::eventually;
using testing::Folder;
using testing::pattern;
using testing::Quick;
using testing::Volume;

TEST(Writing, WhatWasWrittenIsReadBeforeAndAfterFlush) {
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

TEST(Writing, SequentialWriteOfNBlocksIsNPuts) {
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

TEST(Writing, FullBlocksAreUploadedWhileTheSliceIsOpen) {
  Volume v;
  Ino ino = v.create("f");
  Quick quick;
  ASSERT_TRUE(v.write(ino, 0, pattern(3 * 65536 + 100, 3)));
  EXPECT_TRUE(eventually([&] { return v.objects() >= 3; }));
  auto length = v.meta->getattr({}, ino)->length;
  EXPECT_TRUE(!quick.still() || length == 0u);  // nothing is committed
}

TEST(Writing, SmallRandomWritesShareObjects) {
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

TEST(Writing, SharedObjectsLiveAsLongAsTheirLastRecord) { share_and_drop(""); }

TEST(Writing, SharedObjectsLiveAsLongAsTheirLastRecordOnSqlite) {
  Folder folder;
  share_and_drop("sqlite3://" + folder.path + "/meta.db");
}

// Uploads are not tried again.
DataOptions impatient() {
  auto options = Volume::small();
  options.io_retries = 0;
  return options;
}

TEST(Writing, AFailedUploadIsToldOnceThenHealed) {
  Volume v(impatient());
  Ino ino = v.file("f", "before");
  v.faults->fail_next(Faults::kPut, 1);
  ASSERT_TRUE(v.write(ino, 0, "LOST!!"));
  EXPECT_EQ(code_of(v.data->flush(ino, nullptr)), EIO);
  EXPECT_EQ(*v.read(ino, 0, 100), "before");
  EXPECT_TRUE(v.data->flush(ino, nullptr));
  ASSERT_TRUE(v.save(ino, 0, "after!"));
  EXPECT_EQ(*v.read(ino, 0, 100), "after!");
}

// The kernel shows a caller whose large write was answered in part a short count instead of the error.
TEST(Writing, WhatFailedInTheBackgroundRefusesAWriteAndIsToldByTheNextFlushEvenSo) {
  Volume v(impatient());
  Ino ino = v.file("f", "before");
  v.faults->fail_next(Faults::kPut, 1);
  ASSERT_TRUE(v.write(ino, 0, pattern(65'536, 1)));  // a whole block: uploaded at once
  EXPECT_TRUE(eventually([&] { return code_of(v.write(ino, 0, "lost?")) == EIO; }));
  EXPECT_TRUE(v.write(ino, 0, "after!"));
  EXPECT_EQ(code_of(v.data->flush(ino, nullptr)), EIO);
  EXPECT_TRUE(v.write(ino, 0, "later!"));
  EXPECT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(v.read(ino, 0, 100)->substr(0, 6), "later!");
}

TEST(Writing, AnUploadThatFailsForAWhileIsRetried) {
  Volume v;
  Ino ino = v.create("f");
  v.faults->fail_next(Faults::kPut, 2);
  ASSERT_TRUE(v.write(ino, 0, "patience"));
  EXPECT_TRUE(v.data->flush(ino, nullptr));
  EXPECT_EQ(*v.read(ino, 0, 100), "patience");
}

TEST(Writing, LengthNeverCoversAFailedRange) {
  Volume v(impatient());
  Ino ino = v.create("f");
  // The uploads of both blocks ask for the slice's id; either's may be taken.
  v.faults->fail_keys({"chunks/0/0/1_0_65536", "chunks/0/0/2_0_65536"});
  ASSERT_TRUE(v.write(ino, 0, pattern(65536, 1)));
  Result<void> later = v.write(ino, 65536, pattern(1000, 2));
  auto flushed = v.data->flush(ino, nullptr);
  EXPECT_TRUE(!later || !flushed);
  auto length = v.meta->getattr({}, ino)->length;
  EXPECT_EQ(length, 0u);
  v.faults->clear();
  ASSERT_TRUE(v.save(ino, 0, "good"));
  EXPECT_EQ(*v.read(ino, 0, 100), "good");
}

TEST(Writing, CommitErrorsKeepTheirErrnoAndLeaveNoObjects) {
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

TEST(Writing, OldSlicesAreCommittedWithoutAFlush) {
  Volume v;
  Ino ino = v.create("f");
  ASSERT_TRUE(v.write(ino, 0, "soon"));
  EXPECT_TRUE(eventually([&] { return v.meta->getattr({}, ino)->length == 4; }));
  EXPECT_TRUE(eventually([&] { return v.data->length(ino, 0) == 0 || v.data->length(ino, 0) == 4; }));
}

TEST(Writing, InterleavedStreamsMakeTwoSlices) {
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

TEST(Writing, MemoryStaysWithinTheBudget) {
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

TEST(Writing, WritersThatWaitForMemoryStillWriteWholeBlocks) {
  auto options = Volume::small();
  options.buffer_size = 4 << 20;
  options.max_uploads = 8;
  Volume v(options);
  v.faults->delay(Faults::kPut, 15);
  constexpr size_t kFiles = 8, kBlocks = 40;
  std::vector<Ino> inos;
  for (size_t i = 0; i < kFiles; i++) inos.push_back(v.create("f" + std::to_string(i)));
  const auto text = pattern(kBlocks * 65536, 5);
  Quick quick;
  std::vector<std::thread> writers;
  for (size_t i = 0; i < kFiles; i++)
    writers.emplace_back([&v, &text, ino = inos[i], piece = 5'000 + i * 3'000] {
      for (size_t at = 0; at < text.size(); at += piece) EXPECT_TRUE(v.write(ino, at, text.substr(at, piece)));
      EXPECT_TRUE(v.data->flush(ino, nullptr));
    });
  for (auto& writer : writers) writer.join();
  EXPECT_GT(v.data->budget().waits().count, 0u);

  if (quick.still()) {
    EXPECT_EQ(v.faults->count(Faults::kPut), kFiles * kBlocks);
    for (Ino ino : inos) EXPECT_EQ(v.meta->read_chunk(ino, 0)->records, 1u);
  }
  for (Ino ino : inos) EXPECT_EQ(*v.read(ino, 0, text.size()), text);
}

TEST(Writing, MemoryInManyOpenBlocksComesFreeWhenItIsShort) {
  auto options = Volume::small();
  options.buffer_size = 4 << 20;
  Volume v(options);
  std::vector<Ino> inos;
  for (int i = 0; i < 200; i++) inos.push_back(v.create("f" + std::to_string(i)));
  for (Ino ino : inos) ASSERT_TRUE(v.write(ino, 0, pattern(60'000, raw(ino))));
  EXPECT_LT(v.faults->count(Faults::kPut), 200u);  // those that must
  for (Ino ino : inos) ASSERT_TRUE(v.data->flush(ino, nullptr));
  for (Ino ino : inos) EXPECT_EQ(*v.read(ino, 0, 60'000), pattern(60'000, raw(ino)));
}

TEST(Writing, MtimeOfBufferedDataAndOfUtimes) {
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

TEST(Writing, AnOutageOfTheStoreEndsWithErrorsAndWorkResumes) {
  auto options = Volume::small();
  options.io_retries = 1;
  Volume v(options);
  Ino ino = v.file("f", pattern(100'000, 1));
  v.faults->fail_next(Faults::kAll, Faults::kForever);
  EXPECT_EQ(code_of(v.read(ino, 0, 1000)), EIO);
  ASSERT_TRUE(v.write(ino, 0, pattern(100'000, 2)));
  EXPECT_EQ(code_of(v.data->flush(ino, nullptr)), EIO);
  v.faults->clear();
  EXPECT_EQ(*v.read(ino, 0, 100'000), pattern(100'000, 1));
  ASSERT_TRUE(v.save(ino, 0, pattern(100'000, 2)));
  EXPECT_EQ(*v.read(ino, 0, 100'000), pattern(100'000, 2));
}

TEST(Writing, FilesOfATierGoToItsStorageClass) {
  for (bool writeback : {false, true}) {
    Folder folder;
    auto options = Volume::with_disk(folder);
    options.writeback = writeback;
    options.upload_delay_ms = 3'600'000;
    Volume v(options);
    auto format = v.meta->format();
    format.tiers[2] = {2, "COLD", ""};
    ASSERT_TRUE(v.meta->change_format(format));
    v.close();
    v.open(options);
    Ino ino = v.create("cold");
    Attr attr;
    attr.tier = 2;
    ASSERT_TRUE(v.meta->setattr({}, ino, meta::kSetTier, attr));
    ASSERT_TRUE(v.save(ino, 0, pattern(100'000, 1)));
    ASSERT_TRUE(v.save(ino, 100'000, pattern(100'000, 2)));
    ASSERT_TRUE(v.meta->compact_chunk(ino, 0));
    size_t cold = 0;
    ASSERT_TRUE(object::list_all(*v.shared_store, "", [&](const object::ObjectInfo& info) {
      EXPECT_EQ(info.storage_class, "COLD") << info.key;
      return ++cold > 0;
    }));
    EXPECT_GE(cold, 4u);
    v.file("plain", "x");
    EXPECT_EQ(v.data->stats().staged_blocks, writeback ? 1u : 0u);
  }
}

// A log: many small writes at its end, each of them flushed, without a pause for compaction.
TEST(Writing, AppendsThatAreFlushedDoNotPileUp) {
  Volume v;
  Ino ino = v.create("log");
  std::string model;
  size_t most = 0;
  constexpr uint64_t kLines = 10'000;
  for (uint64_t i = 0; i < kLines; i++) {
    auto line = pattern(100, i);
    ASSERT_TRUE(v.save(ino, model.size(), line));
    model += line;
    if (i % 10 == 9) most = std::max(most, v.meta->read_chunk(ino, 0)->records);
  }
  EXPECT_EQ(*v.read(ino, 0, model.size() + 1), model);
  EXPECT_LE(most, 1000u);
  EXPECT_LE(v.faults->bytes_put(), 30 * model.size());
  ASSERT_TRUE(v.meta->compact_chunk(ino, 0));
  EXPECT_LE(v.meta->read_chunk(ino, 0)->records, 2u);
  EXPECT_EQ(*v.read(ino, 0, model.size() + 1), model);
}

TEST(Writing, AppendsThatAreNotFlushedAreOneSlice) {
  Volume v;
  Ino ino = v.create("log");
  std::string model;
  Quick quick;
  for (uint64_t i = 0; i < 5000; i++) {
    auto line = pattern(100, i);
    ASSERT_TRUE(v.write(ino, model.size(), line));
    model += line;
  }
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  if (quick.still()) {
    EXPECT_EQ(v.faults->count(Faults::kPut), (model.size() + 65535) / 65536);
    EXPECT_EQ(v.meta->read_chunk(ino, 0)->records, 1u);
  }
  EXPECT_EQ(*v.read(ino, 0, model.size()), model);
}

// A database: its pages are rewritten at random, and flushed now and then, or never.
TEST(Writing, RandomRewritesDoNotPileUp) {
  for (uint64_t flush_every : {100, 100'000}) {
    auto options = Volume::small();
    options.buffer_size = 64 << 20;
    Volume v(options, "none", 4096);
    constexpr size_t kPage = 4096, kPages = 2048, kWrites = 20'000;
    auto model = pattern(kPage * kPages, 1);
    Ino ino = v.file("database", model);
    std::mt19937 random(5);
    auto puts = v.faults->count(Faults::kPut);
    auto bytes = v.faults->bytes_put();
    size_t most = 0;
    for (uint64_t i = 1; i <= kWrites; i++) {
      size_t at = random() % kPages * kPage;
      auto page = pattern(kPage, i);
      model.replace(at, kPage, page);
      ASSERT_TRUE(v.write(ino, at, page));
      if (i % flush_every == 0) {
        ASSERT_TRUE(v.data->flush(ino, nullptr));
      }
      if (i % 100 == 0) most = std::max(most, v.meta->read_chunk(ino, 0)->records);
    }
    ASSERT_TRUE(v.data->flush(ino, nullptr));
    EXPECT_EQ(*v.read(ino, 0, model.size()), model);
    EXPECT_LE(most, 1000u + 512) << "the list at which writers wait, and what one commit brings";
    EXPECT_LE(v.faults->count(Faults::kPut) - puts, kWrites / 20);
    EXPECT_LE(v.faults->bytes_put() - bytes, 16 * kWrites * kPage);
  }
}

// Much may wait to be committed while a store is slow.
TEST(Writing, ACommitBringsALimitedNumberOfRecords) {
  auto options = Volume::small();
  options.buffer_size = 64 << 20;
  Volume v(options, "none", 4096);
  constexpr size_t kPage = 4096;
  std::string model(16 << 20, '\0');
  Ino ino = v.create("database");
  std::mt19937 random(7);
  v.faults->delay(Faults::kPut, 300);
  size_t most = 0, before = 0;
  auto look = [&] {
    auto records = v.meta->read_chunk(ino, 0)->records;
    most = std::max(most, records - std::min(records, before));
    before = records;
  };
  for (uint64_t i = 0; i < 3000; i++) {
    size_t at = random() % (model.size() / kPage) * kPage;
    auto page = pattern(kPage, i);
    model.replace(at, kPage, page);
    ASSERT_TRUE(v.write(ino, at, page));
    look();
  }
  std::thread flush([&] { EXPECT_TRUE(v.data->flush(ino, nullptr)); });
  while (!v.data->clean(ino)) look();
  flush.join();
  EXPECT_GT(most, 0u);
  EXPECT_LE(before, 1000u + 512);
  v.faults->clear();
  EXPECT_EQ(v.read(ino, 0, model.size())->substr(0, v.length(ino)), model.substr(0, v.length(ino)));
}

// Where each upload takes long, a writer may wait for all of them.
TEST(Writing, CompactionUploadsSeveralBlocksAtOnce) {
  Volume v;
  std::string model;
  Ino ino = v.create("f");
  for (uint64_t i = 0; i < 20; i++) {
    auto part = pattern(40'000, i);
    ASSERT_TRUE(v.save(ino, model.size(), part));
    model += part;
  }
  v.faults->delay(Faults::kPut, 100);
  ASSERT_TRUE(v.meta->compact_chunk(ino, 0));
  EXPECT_GE(v.faults->most_delayed(), 2u);
  EXPECT_LE(v.faults->most_delayed(), 4u);
  v.faults->clear();
  EXPECT_EQ(v.meta->read_chunk(ino, 0)->records, 1u);
  EXPECT_EQ(*v.read(ino, 0, model.size()), model);
  ASSERT_TRUE(v.save(ino, model.size(), "x"));
  auto objects = v.objects();
  v.faults->fail_keys({"chunks/0/0/23_7_65536"});  // the last but four of the next
  EXPECT_FALSE(v.meta->compact_chunk(ino, 0));
  EXPECT_EQ(v.objects(), objects) << "what was written of it is gone";
  EXPECT_EQ(v.read(ino, 0, model.size() + 1)->substr(0, model.size()), model);
}

// Without a cache each of the pages would be a request to the store.
TEST(Writing, CompactionFetchesABlockOnce) {
  auto options = Volume::small();
  options.buffer_size = 64 << 20;
  Volume v(options, "none", 4096);
  constexpr size_t kPage = 4096, kPages = 4096;
  auto model = pattern(kPage * kPages, 1);
  Ino ino = v.file("database", model);
  for (uint64_t i = 0; i < 400; i++) {
    size_t at = i * 7919 % kPages * kPage;
    auto page = pattern(kPage, i);
    model.replace(at, kPage, page);
    ASSERT_TRUE(v.write(ino, at, page));
  }
  ASSERT_TRUE(v.data->flush(ino, nullptr));
  auto gets = v.faults->count(Faults::kGet);
  ASSERT_TRUE(v.meta->compact_chunk(ino, 0));
  EXPECT_EQ(v.meta->read_chunk(ino, 0)->records, 1u);
  EXPECT_LE(v.faults->count(Faults::kGet) - gets, 8u);
  EXPECT_EQ(*v.read(ino, 0, model.size()), model);
}

}  // namespace
}  // namespace zest::data
