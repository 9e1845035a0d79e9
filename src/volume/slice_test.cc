#include "volume/slice.h"
#include "volume/compaction.h"

#include <gtest/gtest.h>

#include <random>

#include "base/bytes.h"
#include "volume/compaction.h"

namespace zest {
namespace {

Slice part(uint32_t pos, uint64_t id, uint32_t size, uint32_t off, uint32_t len) {
  return {pos, SliceId{id}, size, off, len};
}
Slice whole(uint32_t pos, uint64_t id, uint32_t len) { return part(pos, id, len, 0, len); }
Slice zero(uint32_t pos, uint32_t len) { return part(pos, 0, 0, 0, len); }

std::string hex_of(const Slice& s) { return to_hex(encode_slices({s})); }

TEST(SliceRecord, Vectors) {
  EXPECT_EQ(hex_of(whole(0, 1, 6)), "000000000000000000000001000000060000000000000006");
  EXPECT_EQ(hex_of(zero(5000, 5000)), "000013880000000000000000000000000000000000001388");
  EXPECT_EQ(hex_of(part(67108364, 8, 100000, 1000, 500)), "03fffe0c0000000000000008000186a0000003e8000001f4");
  EXPECT_EQ(hex_of(whole(0, 16, 13000)), "000000000000000000000010000032c800000000000032c8");
  auto back =
      decode_slices(*from_hex("03fffe0c 0000000000000008 000186a0 000003e8 000001f4"
                              "00001388 0000000000000000 00000000 00000000 00001388"));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, (std::vector{part(67108364, 8, 100000, 1000, 500), zero(5000, 5000)}));
}

TEST(SliceRecord, RefusesWhatIsOutOfBounds) {
  EXPECT_TRUE(decode_slices("")->empty());
  EXPECT_EQ(code_of(decode_slices(std::string(25, '\0'))), EIO);
  EXPECT_EQ(code_of(decode_slices(encode_slices({part(0, 1, 10, 5, 6)}))), EIO);
  EXPECT_EQ(code_of(decode_slices(encode_slices({part(0, 1, 10, 0xFFFFFFFF, 6)}))), EIO);
  EXPECT_EQ(code_of(decode_slices(encode_slices({whole(kChunkSize - 5, 1, 6)}))), EIO);
  EXPECT_EQ(code_of(decode_slices(encode_slices({zero(0xFFFFFFFF, 6)}))), EIO);
  EXPECT_TRUE(decode_slices(encode_slices({whole(kChunkSize - 6, 1, 6), zero(0, kChunkSize)})));
}

TEST(SliceRecord, SizeAndOffsetOfAHoleMeanNothing) {
  auto back = decode_slices(encode_slices({part(10, 0, 7, 100, 20)}));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->front(), zero(10, 20));
}

TEST(Resolve, OverlappingWrites) {
  std::vector<Slice> records;
  for (uint32_t i = 0; i < 6; i++) records.push_back(whole(2000 * i, 10 + i, 3000));
  auto pieces = resolve_slices(records);
  ASSERT_EQ(pieces.size(), 6u);
  for (uint32_t i = 0; i < 6; i++) EXPECT_EQ(pieces[i], part(2000 * i, 10 + i, 3000, 0, i == 5 ? 3000 : 2000));
}

TEST(Resolve, HolesAndSplits) {
  EXPECT_TRUE(resolve_slices({}).empty());
  EXPECT_EQ(resolve_slices({whole(100, 1, 50)}), (std::vector{zero(0, 100), whole(100, 1, 50)}));
  EXPECT_EQ(resolve_slices({whole(0, 1, 100), whole(40, 2, 20)}),
            (std::vector{part(0, 1, 100, 0, 40), whole(40, 2, 20), part(60, 1, 100, 60, 40)}));
  EXPECT_EQ(resolve_slices({whole(0, 1, 100), zero(40, 20), zero(60, 10)}),
            (std::vector{part(0, 1, 100, 0, 40), zero(40, 30), part(70, 1, 100, 70, 30)}));
  EXPECT_EQ(resolve_slices({whole(10, 1, 10), whole(0, 2, 100)}), (std::vector{whole(0, 2, 100)}));
  EXPECT_EQ(resolve_slices({whole(0, 1, 10), zero(5, 0)}), (std::vector{whole(0, 1, 10)}));
}

TEST(Resolve, AgreesWithByteByByte) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; round++) {
    std::vector<Slice> records;
    std::vector<std::pair<uint64_t, uint32_t>> bytes(400);  // slice and offset in it
    uint32_t end = 0;
    for (uint64_t n = random() % 20, i = 0; i < n; i++) {
      uint32_t pos = random() % 300, len = 1 + random() % 100, off = random() % 50;
      Slice s = random() % 4 == 0 ? zero(pos, len) : part(pos, i + 1, off + len + random() % 9, off, len);
      records.push_back(s);
      end = std::max(end, pos + len);
      for (uint32_t b = 0; b < len; b++) bytes[pos + b] = {raw(s.id), raw(s.id) ? off + b : 0};
    }
    uint32_t at = 0;
    for (const Slice& p : resolve_slices(records)) {
      ASSERT_EQ(p.pos, at);
      for (uint32_t b = 0; b < p.len; b++)
        ASSERT_EQ(bytes[at + b], (std::pair<uint64_t, uint32_t>(raw(p.id), raw(p.id) ? p.off + b : 0)));
      at += p.len;
    }
    ASSERT_EQ(at, end);
  }
}

TEST(ZeroSlices, CutAtChunkBorders) {
  auto slices = zero_slices(5000, 10000);
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_EQ(slices[0].chunk, 0u);
  EXPECT_EQ(slices[0].slice, zero(5000, 5000));
  // a file of 20000 bytes made 200 MiB long
  slices = zero_slices(20000, 200 << 20);
  ASSERT_EQ(slices.size(), 4u);
  EXPECT_EQ(hex_of(slices[0].slice),
            "00004e2000000000000000000000000000000000"
            "03ffb1e0");
  EXPECT_EQ(slices[1].slice, zero(0, kChunkSize));
  EXPECT_EQ(slices[2].chunk, 2u);
  EXPECT_EQ(slices[3].chunk, 3u);
  EXPECT_EQ(slices[3].slice, zero(0, 0x00800000));
  EXPECT_TRUE(zero_slices(7, 7).empty());
  EXPECT_TRUE(zero_slices(8, 7).empty());
  EXPECT_EQ(zero_slices(kChunkSize, 2 * kChunkSize).size(), 1u);
}

TEST(Compaction, OverlappingWritesBecomeOne) {
  std::vector<Slice> records;
  for (uint32_t i = 0; i < 6; i++) records.push_back(whole(2000 * i, 10 + i, 3000));
  auto plan = plan_compaction(records);
  EXPECT_EQ(plan.records, 6u);
  EXPECT_EQ(plan.skipped, 0u);
  EXPECT_EQ(plan.pos, 0u);
  EXPECT_EQ(plan.size, 13000u);
  EXPECT_EQ(plan.pieces.size(), 6u);
}

TEST(Compaction, LeavesALargeLeadingSliceAlone) {
  std::vector<Slice> records{whole(0, 1, 4 << 20)};
  for (uint32_t i = 0; i < 12; i++) records.push_back(whole((4 << 20) + 1000 * i, 2 + i, 1000));
  auto plan = plan_compaction(records);
  EXPECT_EQ(plan.records, 13u);
  EXPECT_EQ(plan.skipped, 1u);
  EXPECT_EQ(plan.pos, 4u << 20);
  EXPECT_EQ(plan.size, 12000u);
  // not when it is small beside the rest, overwritten in part, under 1 MiB, or there again
  auto skipped = [](std::vector<Slice> r) { return plan_compaction(r).skipped; };
  EXPECT_EQ(skipped({whole(0, 1, 1 << 20), whole(1 << 20, 2, (4 << 20) + 1), whole(0, 3, 0)}), 0u);
  EXPECT_EQ(skipped({whole(0, 1, 1 << 20), whole(1 << 20, 2, 4 << 20), whole(5 << 20, 3, 0)}), 2u);
  EXPECT_EQ(skipped({whole(0, 1, 4 << 20), whole(100, 2, 10), whole(5 << 20, 3, 10)}), 0u);
  EXPECT_EQ(skipped({whole(0, 1, (1 << 20) - 1), whole(1 << 20, 2, 10), whole(2 << 20, 3, 10)}), 0u);
  EXPECT_EQ(skipped({whole(0, 1, 4 << 20), whole(5 << 20, 2, 10), whole(0, 1, 4 << 20)}), 0u);
}

TEST(Compaction, HolesAtTheEndsGo) {
  auto plan = plan_compaction({zero(0, 1000), whole(2000, 1, 100), zero(2100, 50), whole(2150, 2, 10), zero(2160, 99)});
  EXPECT_EQ(plan.pos, 2000u);
  EXPECT_EQ(plan.size, 160u);
  EXPECT_EQ(plan.pieces, (std::vector{whole(2000, 1, 100), zero(2100, 50), whole(2150, 2, 10)}));
}

TEST(Compaction, HolesAloneKeepOneByteThatHidesNothingElse) {
  auto plan = plan_compaction({whole(100, 1, 100), zero(0, 500), zero(600, 10)});
  EXPECT_EQ(plan.size, 1u);
  EXPECT_EQ(plan.pieces, (std::vector{zero(600, 1)}));
  // the slice at 0 is left alone, so the byte of zero must not land there
  plan = plan_compaction({whole(0, 1, 2 << 20), zero(3 << 20, 100), zero(4 << 20, 100)});
  EXPECT_EQ(plan.skipped, 1u);
  EXPECT_EQ(plan.pos, 4u << 20);
  EXPECT_EQ(plan.size, 1u);
}

TEST(Compaction, NothingToGain) {
  EXPECT_EQ(plan_compaction({}).size, 0u);
  EXPECT_EQ(plan_compaction({whole(0, 1, 10)}).size, 0u);
  EXPECT_EQ(plan_compaction({whole(0, 1, 2 << 20), whole(2 << 20, 2, 100)}).size, 0u);
}

// The list of those that it replaces has to fit 64 KiB.
TEST(Compaction, TakesAtMostFiveThousandRecords) {
  std::vector<Slice> records;
  for (uint32_t i = 0; i < 5500; i++) records.push_back(whole(10 * i, i + 1, 10));
  auto plan = plan_compaction(records);
  EXPECT_EQ(plan.records, 5000u);
  EXPECT_EQ(plan.size, 50000u);
}

// A long slice with short ones on both sides of it: what becomes of those would hide it.
TEST(Compaction, TakesALongSliceAlongThatWouldBeHidden) {
  std::vector<Slice> records{whole(8 << 20, 1, 8 << 20)};
  for (uint32_t i = 0; i < 100; i++) records.push_back(whole(i % 2 ? 1000 * i : (18 << 20) + 1000 * i, 2 + i, 1000));
  auto plan = plan_compaction(records);
  EXPECT_EQ(plan.skipped, 0u);
  EXPECT_EQ(plan.pos, 1000u);
  EXPECT_EQ(plan.size, (18u << 20) + 99'000 - 1000);
}

// A log: each hundred of lines is folded into what is not much longer than they are.
TEST(Compaction, OfALogRewritesLittle) {
  std::vector<Slice> records;
  uint64_t rewritten = 0;
  size_t most = 0;
  constexpr uint32_t kLine = 100, kLines = 20'000;
  for (uint32_t i = 0; i < kLines; i++) {
    records.push_back(whole(kLine * i, i + 1, kLine));
    if (records.size() % 100 != 99) continue;
    auto plan = plan_thrifty_compaction(records);
    ASSERT_GT(plan.size, 0u);
    rewritten += plan.size;
    records.resize(plan.skipped);
    records.push_back(whole(plan.pos, 1'000'000 + i, plan.size));
    most = std::max(most, records.size());
    ASSERT_EQ(plan_thrifty_compaction(records).size, 0u) << "it was just done";
  }
  EXPECT_LE(most, 10u);
  EXPECT_LE(rewritten, 12u * kLine * kLines);
}

// A file that was written slowly from its start to its end: the slices are long enough to be read.
TEST(Compaction, LeavesLongSlicesOfAnySizesAlone) {
  std::vector<Slice> records{whole(0, 1, 2 << 20)};
  for (uint32_t i = 0; i < 5; i++) records.push_back(whole((2 + 12 * i) << 20, 2 + i, 12 << 20));
  EXPECT_EQ(plan_compaction(records).size, 62u << 20);
  EXPECT_EQ(plan_thrifty_compaction(records).size, 0u);
  for (uint32_t i = 0; i < 8; i++) records.push_back(whole((62 << 20) + 100 * i, 10 + i, 100));
  EXPECT_EQ(plan_thrifty_compaction(records).skipped, 6u);
  EXPECT_EQ(plan_thrifty_compaction(records).size, 800u);
}

// Pages of a large file: not all of it again for a few of them.
TEST(Compaction, RewritesMuchForLittleOnlyWhenTheListIsLong) {
  std::vector<Slice> records{whole(0, 1, 64 << 20)};
  auto add = [&](uint32_t count, uint32_t size) {
    for (uint32_t i = 0; i < count; i++)
      records.push_back(whole((records.size() * 7919 % 1000) << 16, records.size() + 1, size));
  };
  add(99, 4096);
  EXPECT_EQ(plan_thrifty_compaction(records).size, 0u);
  EXPECT_EQ(plan_compaction(records).size, 64u << 20);
  add(250, 4096);
  EXPECT_EQ(plan_thrifty_compaction(records).size, 64u << 20);
  records.resize(1);
  add(20, 65536);
  EXPECT_EQ(plan_thrifty_compaction(records).size, 64u << 20);
}

TEST(Compaction, ShowsTheSameBytesAfterwards) {
  std::mt19937 random(11);
  for (int round = 0; round < 500; round++) {
    std::vector<Slice> records;
    for (uint64_t n = 2 + random() % 8, i = 0; i < n; i++) {
      uint32_t pos = random() % 40 * (1 << 18), len = (1 + random() % 12) * (1 << 18);
      records.push_back(random() % 4 == 0 ? zero(pos, len) : whole(pos, i + 1, len));
    }
    auto plan = round % 2 ? plan_thrifty_compaction(records) : plan_compaction(records);
    if (plan.size == 0) continue;
    std::vector<Slice> after(records.begin(), records.begin() + static_cast<long>(plan.skipped));
    after.insert(after.end(), plan.pieces.begin(), plan.pieces.end());  // stands for the new slice
    auto drop_tail = [](std::vector<Slice> v) {
      if (!v.empty() && raw(v.back().id) == 0) v.pop_back();
      return v;
    };
    ASSERT_EQ(drop_tail(resolve_slices(after)), drop_tail(resolve_slices(records)));
  }
}

TEST(SliceKeys, DelayedSlices) {
  auto bytes = *from_hex("0000000000000009 00000bb8 000000000000000a 00000bb8");
  auto keys = decode_slice_keys(bytes);
  ASSERT_TRUE(keys);
  EXPECT_EQ(*keys, (std::vector<SliceRefKey>{{SliceId{9}, 3000}, {SliceId{10}, 3000}}));
  EXPECT_EQ(encode_slice_keys(*keys), bytes);
  EXPECT_EQ(code_of(decode_slice_keys("12345")), EIO);
}

}  // namespace
}  // namespace zest
