// Write-back staging under the content layer.
#include <gtest/gtest.h>

#include "data/testing.h"

namespace zest::data {
namespace {

using object::Faults;
using testing::eventually;
using testing::Folder;
using testing::pattern;
using testing::SmallDisk;
using testing::Volume;

TEST(WriteBack, WritebackStagesThenUploads) {
  Folder folder;
  auto options = Volume::with_disk(folder);
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

TEST(WriteBack, StagedBlocksOfAnEarlierClientAreUploadedInEveryMode) {
  Folder folder;
  auto options = Volume::with_disk(folder);
  options.writeback = true;
  options.upload_delay_ms = 3'600'000;
  Volume v(options);
  auto text = pattern(200'000, 3);
  Ino ino = v.file("f", text);
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

TEST(WriteBack, DeletedSlicesLeaveNothingStaged) {
  Folder folder;
  auto options = Volume::with_disk(folder);
  options.writeback = true;
  options.upload_delay_ms = 3'600'000;
  Volume v(options);
  Ino ino = v.file("f", pattern(200'000, 3));
  EXPECT_EQ(v.data->stats().staged_blocks, 4u);
  auto view = v.meta->read_chunk(ino, 0);
  ASSERT_TRUE(view);
  ASSERT_TRUE(v.data->delete_slice(view->pieces[0].id, view->pieces[0].size));
  EXPECT_EQ(v.data->stats().staged_blocks, 0u);
  EXPECT_EQ(v.data->cached().first, 0u);
}

TEST(WriteBack, WritebackUploadsItselfWhenTheDiskIsFull) {
  Folder folder;
  auto options = Volume::with_disk(folder);
  options.writeback = true;
  options.upload_delay_ms = 3'600'000;
  options.cache.free_space_ratio = 1.0;  // no disk has that much room
  Volume v(options);
  auto text = pattern(200'000, 3);
  Ino ino = v.file("f", text);
  EXPECT_EQ(v.objects(), 4u);
  EXPECT_EQ(v.data->stats().staged_blocks, 0u);
  EXPECT_EQ(*v.read(ino, 0, 200'000), text);
}

TEST(WriteBack, ADiskThatFailsIsLeftOutUntilItWorksAgain) {
  Folder folder;
  SmallDisk disk(folder.path, "10m");
  ASSERT_TRUE(disk.mounted);
  auto options = Volume::with_disk(folder);
  options.writeback = true;
  options.upload_delay_ms = 1000;
  Volume v(options);
  v.faults->hold(Faults::kPut);
  auto text = pattern(200'000, 3);
  Ino first = v.file("first", text);
  ASSERT_EQ(v.data->stats().staged_blocks, 4u);
  disk.make_read_only(true);
  v.faults->release();
  auto direct = [&](int i) {
    auto before = v.data->stats().staged_total_bytes.load();
    auto other = pattern(200'000, static_cast<uint64_t>(i));
    Ino ino = v.file("f" + std::to_string(i), other);
    EXPECT_EQ(*v.read(ino, 0, 200'000), other);
    return v.data->stats().staged_total_bytes == before;
  };
  for (int i = 10; i < 13; i++) EXPECT_TRUE(direct(i));
  EXPECT_EQ(*v.read(first, 0, 200'000), text);
  disk.make_read_only(false);
  int next = 20;
  EXPECT_TRUE(eventually([&] { return !direct(next++); })) << "staged again";
  EXPECT_TRUE(eventually([&] { return v.data->stats().staged_blocks == 0; })) << "and all of it is uploaded";
  EXPECT_EQ(*v.read(first, 0, 200'000), text);
}

}  // namespace
}  // namespace zest::data
