// The small parts of the content layer: slices being written, streams, single flight, buffers, upload hours.
#include <gtest/gtest.h>

#include <random>

#include "data/fetch.h"
#include "data/staging.h"
#include "data/streams.h"
#include "data/testing.h"
#include "data/write_slice.h"

namespace zest::data {
namespace {

using testing::pattern;

constexpr uint32_t kBlockSize = 65536;

class Slices : public ::testing::Test {
 protected:
  // What the file writer does with one write, without uploads.
  void write(ChunkIndex chunk, uint32_t pos, std::string_view text) {
    while (!text.empty()) {
      int chosen = choose_slice(slices, chunk, pos, static_cast<uint32_t>(text.size()));
      WriteSlicePtr slice;
      if (chosen >= 0) {
        slice = slices[static_cast<size_t>(chosen)];
      } else {
        slice = std::make_shared<WriteSlice>(kBlockSize, slices.size() + 1);
        slice->extents.push_back({chunk, pos, 0, 0});
        slice->first = ++writes;
        slices.push_back(slice);
      }
      auto room = slice->room(pos, static_cast<uint32_t>(text.size()));
      if (room.capacity > 0) slice->grow(pool.get(room.capacity, 1000));
      slice->put(pos, std::span(text.data(), room.bytes));
      slice->last = ++writes;
      pos += room.bytes;
      text.remove_prefix(room.bytes);
    }
  }
  std::string content(const WriteSlice& slice) {
    std::string text(slice.size, '\0');
    EXPECT_TRUE(slice.copy(0, std::span(text)));
    return text;
  }
  Budget budget{64 << 20};
  BufferPool pool{budget, kBlockSize};
  std::vector<WriteSlicePtr> slices;
  uint64_t writes = 0;
};

TEST_F(Slices, SequentialWritesAreOneSlice) {
  auto text = pattern(300'000, 1);
  for (size_t at = 0; at < text.size(); at += 7000) write(0, static_cast<uint32_t>(at), text.substr(at, 7000));
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_EQ(content(*slices[0]), text);
  EXPECT_EQ(slices[0]->blocks.size(), 5u);
}

TEST_F(Slices, RewritesInTheOpenTailStayInTheSlice) {
  write(0, 100, pattern(70'000, 1));
  write(0, 100 + 65536 + 10, "rewritten");
  EXPECT_EQ(slices.size(), 1u);
  EXPECT_EQ(content(*slices[0]).substr(65546, 9), "rewritten");
  write(0, 100, "in a complete block");
  EXPECT_EQ(slices.size(), 2u);
}

TEST_F(Slices, GapsLeftOverlapsAndNewerOverlapsBeginNewSlices) {
  write(0, 1000, std::string(500, 'a'));
  write(0, 2000, "gap");
  EXPECT_EQ(slices.size(), 2u);
  write(0, 900, std::string(200, 'b'));  // begins left of the first
  EXPECT_EQ(slices.size(), 3u);
  write(0, 1500, "append to the first");  // nothing newer is there
  EXPECT_EQ(slices.size(), 3u);
  write(0, 1050, "the newest that takes it");
  EXPECT_EQ(slices.size(), 3u);
  EXPECT_EQ(content(*slices[2]).substr(150, 10), "the newest");
  write(0, 1010, "x");  // the third lies over the first's open tail, and takes it
  EXPECT_EQ(slices.size(), 3u);
  slices[2]->frozen = true;
  write(0, 1060, "the first would take it, but newer data lies there");
  EXPECT_EQ(slices.size(), 4u);
  write(1, 1519, "another chunk");
  EXPECT_EQ(slices.size(), 5u);
}

TEST_F(Slices, MemoryGrowsWithTheSlice) {
  write(0, 0, "x");
  EXPECT_EQ(budget.used(), 4096);
  write(0, 1, std::string(5000, 'y'));
  EXPECT_EQ(budget.used(), 16384);
  write(0, 5001, std::string(60'000, 'z'));
  EXPECT_EQ(budget.used(), 65536);
  slices.clear();
  EXPECT_EQ(budget.used(), 0);
}

TEST_F(Slices, PackedSlicesShowWhatTheirMembersShowed) {
  std::mt19937 random(5);
  std::string model(30'000, '\0'), shown(30'000, '\0');
  for (uint64_t i = 0; i < 60; i++) {
    auto at = static_cast<uint32_t>(random() % 29'000);
    auto text = pattern(random() % 900 + 1, i + 1);
    model.replace(at, text.size(), text);
    write(0, at, text);
  }
  for (auto& slice : slices) slice->frozen = true;
  auto plan = plan_pack(slices);
  EXPECT_LE(plan.size, 30'000u);
  auto pack = pack_slices(slices, plan, pool.get(plan.size, 1000));
  auto bytes = content(*pack);
  uint32_t covered = 0;
  for (size_t i = 0; i < pack->extents.size(); i++) {
    const auto& e = pack->extents[i];
    shown.replace(e.pos, e.len, bytes.substr(e.off, e.len));
    if (i > 0) {
      EXPECT_GT(e.pos, pack->extents[i - 1].pos + pack->extents[i - 1].len);  // neighbours were joined
    }
    covered += e.len;
  }
  EXPECT_EQ(covered, pack->size);
  EXPECT_EQ(shown, model);
}

TEST(StreamsTest, ReadsFromTheStartAreSequential) {
  Streams streams(1 << 20, 8 << 20);
  auto plan = streams.on_read(0, 128 << 10, 100 << 20);
  EXPECT_TRUE(plan.sequential);
  EXPECT_EQ(plan.from, 128u << 10);
  EXPECT_EQ(plan.to, 2u << 20);
  plan = streams.on_read(128 << 10, 4096, 100 << 20);
  EXPECT_EQ(plan.from, plan.to);  // already planned
}

TEST(StreamsTest, ALookAtTheHeaderIsNot) {
  Streams streams(1 << 20, 8 << 20);
  EXPECT_FALSE(streams.on_read(0, 4096, 100 << 20).sequential);
  EXPECT_TRUE(streams.on_read(4096, 4096, 100 << 20).sequential);
  EXPECT_TRUE(Streams(1 << 20, 8 << 20).on_read(0, 4096, 4096).sequential);  // the whole file
}

TEST(StreamsTest, RandomReadsAreNot) {
  Streams streams(1 << 20, 8 << 20);
  std::mt19937 random(3);
  for (int i = 0; i < 100; i++) {
    auto plan = streams.on_read((random() % 1000 + 1) * (10 << 20), 4096, uint64_t{1} << 40);
    EXPECT_FALSE(plan.sequential) << i;
  }
}

TEST(StreamsTest, TheSecondReadInARowStartsAStream) {
  Streams streams(1 << 20, 8 << 20);
  EXPECT_FALSE(streams.on_read(50 << 20, 4096, 100 << 20).sequential);
  EXPECT_TRUE(streams.on_read((50 << 20) + 4096, 4096, 100 << 20).sequential);
}

TEST(StreamsTest, SeveralStreamsOfOneHandle) {
  Streams streams(1 << 20, 8 << 20);
  for (uint64_t i = 0; i < 20; i++)
    for (uint64_t stream = 0; stream < 3; stream++) {
      auto plan = streams.on_read((stream * 100 << 20) + i * 65536, 65536, uint64_t{1} << 40);
      if (i > 0) {
        EXPECT_TRUE(plan.sequential) << i << " " << stream;
      }
    }
}

TEST(StreamsTest, TheWindowGrowsWhileReadsStallAndStopsAtTheLimit) {
  Streams streams(1 << 20, 8 << 20);
  uint64_t at = 0;
  size_t stream = 0;
  for (int i = 0; i < 100; i++, at += 1 << 20) {
    auto plan = streams.on_read(at, 1 << 20, uint64_t{1} << 40);
    stream = plan.stream;
    EXPECT_LE(plan.to, at + (1 << 20) + (9 << 20));
    streams.stalled(stream, false);
  }
  EXPECT_EQ(streams.window(stream), 8u << 20);
  streams.shrink(stream);
  EXPECT_EQ(streams.window(stream), 4u << 20);
}

TEST(StreamsTest, ADistantStoreGetsAWideWindowSoon) {
  for (bool far : {false, true}) {
    Streams streams(4 << 20, 64 << 20);
    uint64_t at = 0;
    int stalls = 0;
    for (size_t stream = 0; streams.window(stream) < 64 << 20; at += 1 << 20) {
      auto plan = streams.on_read(at, 1 << 20, uint64_t{1} << 40);
      stream = plan.stream;
      if (at % (4 << 20) > 0) continue;  // a stall a block at most
      streams.stalled(stream, far);
      stalls++;
    }
    EXPECT_LE(stalls, far ? 6 : 17) << "blocks until the window is full";
    EXPECT_LE(uint64_t{64} << 20, at * 4 + (16 << 20)) << "no more ahead than a few times of what was read";
  }
}

TEST(StreamsTest, EveryByteIsPlannedOnceAndNothingPastTheEnd) {
  Streams streams(1 << 20, 4 << 20);
  uint64_t length = (10 << 20) + 123, planned = 0;
  for (uint64_t at = 0; at < length; at += 100'000) {
    auto plan = streams.on_read(at, std::min<uint64_t>(100'000, length - at), length);
    if (plan.to == plan.from) continue;
    EXPECT_GE(plan.from, planned);
    planned = plan.to;
    EXPECT_LE(plan.to, length);
  }
  EXPECT_EQ(planned, length);
}

TEST(StreamsTest, OffMeansOff) {
  Streams streams(1 << 20, 0);
  for (uint64_t i = 0; i < 10; i++) EXPECT_FALSE(streams.on_read(i * 4096, 4096, 1 << 30).sequential);
}

TEST(FetchTableTest, JoinersShareUntilTheLastLetsGo) {
  FetchTable table;
  BlockId id{SliceId{1}, 0, 10};
  EXPECT_EQ(table.find(id), nullptr);
  auto first = table.join(id), second = table.join(id);
  EXPECT_EQ(first, second);
  EXPECT_TRUE(first->claim());
  EXPECT_FALSE(second->claim());
  table.forget(*first);
  auto third = table.join(id);
  EXPECT_NE(third, first);
  first->finish(fail(EIO));
  EXPECT_EQ(code_of(second->wait(nullptr)), EIO);
  first.reset();
  second.reset();
  EXPECT_EQ(table.find(id), third);
  third.reset();
  EXPECT_EQ(table.find(id), nullptr);
}

TEST(DensityTest, AnEighthOfABlockPromotesIt) {
  Density density(4);
  BlockId id{SliceId{1}, 0, 80'000};
  EXPECT_FALSE(density.note(id, 5'000));
  EXPECT_TRUE(density.note(id, 5'000));
  EXPECT_FALSE(density.note(id, 5'000));
  for (uint64_t i = 2; i < 10; i++) EXPECT_FALSE(density.note({SliceId{i}, 0, 80'000}, 5'000));
  EXPECT_FALSE(density.note(id, 5'000));  // forgotten meanwhile
}

TEST(UploadHours, WrapPastMidnight) {
  EXPECT_TRUE(in_upload_hours(5, 5, 12));
  EXPECT_TRUE(in_upload_hours(9, 17, 9));
  EXPECT_FALSE(in_upload_hours(9, 17, 17));
  EXPECT_TRUE(in_upload_hours(22, 6, 23));
  EXPECT_TRUE(in_upload_hours(22, 6, 5));
  EXPECT_FALSE(in_upload_hours(22, 6, 6));
}

TEST(BlockBytes, OfSlices) {
  EXPECT_EQ(block_count(0, 100), 0u);
  EXPECT_EQ(block_count(250, 100), 3u);
  EXPECT_EQ(block_bytes(250, 2, 100), 50u);
  EXPECT_EQ(block_bytes(200, 1, 100), 100u);
  EXPECT_EQ(block_bytes(200, 2, 100), 0u);
}

}  // namespace
}  // namespace zest::data
