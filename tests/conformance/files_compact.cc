// Compaction, references, delayed slices (semantics.md 13; encodings.md 5.4, 14.2).
#include "base/bytes.h"
#include "files_fixture.h"

namespace zest::meta {
namespace {

class Compaction : public FilesTest {
 protected:
  // Six overlapping writes: encodings.md 5.1. Gives what the file shows.
  std::string overlapping(Client& c, Ino f) {
    std::string shown(13000, '\0');
    for (uint64_t i = 0; i < 6; i++) {
      std::string part(3000, static_cast<char>('a' + i));
      EXPECT_OK(c.put(f, i * 2000, part));
      shown.replace(i * 2000, 3000, part);
    }
    return shown;
  }
};
FILES_ON_EVERY_ENGINE(Compaction);

TEST_P(Compaction, overlapping_writes_become_one_record) {
  auto& c = client();
  Ino f = c.file("f");
  std::string shown = overlapping(c, f);
  auto old = data_.ids();
  auto done = c->compact_chunk(f, 0);
  ASSERT_OK(done);
  EXPECT_TRUE(*done);
  auto slices = decode_slices(c.records(f, 0));
  ASSERT_OK(slices);
  ASSERT_EQ(slices->size(), 1u);
  Slice slice = slices->front();
  EXPECT_EQ(slice, (Slice{0, slice.id, 13000, 0, 13000}));
  EXPECT_EQ(c.get(f), shown);
  EXPECT_EQ(c.refs(slice.id, 13000), 1);
  c.settle();
  for (SliceId id : old) EXPECT_FALSE(data_.has(id)) << raw(id);
  auto again = c->compact_chunk(f, 0);
  ASSERT_OK(again);
  EXPECT_FALSE(*again);
}

TEST_P(Compaction, with_trash_the_old_slices_are_kept) {
  set_format([](Format& format) { format.trash_days = 1; });
  auto& c = client();
  Ino f = c.file("f");
  std::string shown = overlapping(c, f);
  auto old = data_.ids();
  ASSERT_OK(c->truncate(root_, f, 12000, true));
  ASSERT_OK(c->compact_chunk(f, 0));
  c.settle();
  for (SliceId id : old) {
    EXPECT_TRUE(data_.has(id));
    EXPECT_EQ(c.refs(id, 3000), 1);
  }
  SliceId fresh = decode_slices(c.records(f, 0))->front().id;
  size_t lists = 0;
  ASSERT_OK(c.state().engine->scan(Table::kDelSlicesTable, 0, [&](const Key& key, const Value& value) {
    lists++;
    EXPECT_EQ(key.a, raw(fresh));
    std::vector<SliceRefKey> expected;
    for (SliceId id : old) expected.push_back({id, 3000});
    EXPECT_EQ(hex(std::get<std::string>(value)), hex(encode_slice_keys(expected)));
    return true;
  }));
  EXPECT_EQ(lists, 1u);
  auto cleaned = c->clean_delayed_slices(system_clock().now().sec + 10);
  ASSERT_OK(cleaned);
  c.settle();
  for (SliceId id : old) EXPECT_FALSE(data_.has(id));
  EXPECT_EQ(c.get(f), shown.substr(0, 12000));
}

TEST_P(Compaction, big_leading_slices_stay) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, 0, std::string(4 << 20, 'B')));
  std::string big = c.records(f, 0);
  for (int i = 0; i < 12; i++) ASSERT_OK(c.put(f, (4 << 20) + i * 1000, std::string(1000, 's')));
  ASSERT_OK(c->compact_chunk(f, 0));
  auto slices = decode_slices(c.records(f, 0));
  ASSERT_OK(slices);
  ASSERT_EQ(slices->size(), 2u);
  EXPECT_EQ(c.records(f, 0).substr(0, kSliceRecord), big);
  EXPECT_EQ(slices->back().len, 12000u);
  EXPECT_EQ(c.get(f, (4 << 20) - 10, 20), std::string(10, 'B') + std::string(10, 's'));
}

TEST_P(Compaction, records_appended_meanwhile_stay) {
  auto& c = client();
  auto other = connect();
  Ino f = c.file("f");
  std::string shown = overlapping(c, f);
  data_.before_commit = [&] { EXPECT_OK(other->put(f, 100, "late")); };
  auto done = c->compact_chunk(f, 0);
  ASSERT_OK(done);
  EXPECT_TRUE(*done);
  EXPECT_EQ(c.records(f, 0).size(), 2 * kSliceRecord);
  EXPECT_EQ(c.get(f), shown.replace(100, 4, "late"));
}

TEST_P(Compaction, loses_against_another_compaction) {
  auto& c = client();
  auto other = connect();
  Ino f = c.file("f");
  std::string shown = overlapping(c, f);
  data_.before_commit = [&] { EXPECT_TRUE((*other)->compact_chunk(f, 0).value_or(false)); };
  auto done = c->compact_chunk(f, 0);
  ASSERT_OK(done);
  EXPECT_FALSE(*done);
  c.settle();
  other->settle();
  EXPECT_EQ(c.get(f), shown);
  EXPECT_EQ(data_.ids().size(), 1u);  // the wasted slice is gone
}

TEST_P(Compaction, missing_objects_change_nothing) {
  auto& c = client();
  Ino f = c.file("f");
  overlapping(c, f);
  std::string before = c.records(f, 0);
  ASSERT_OK(data_.delete_slice(data_.ids().front(), 0));
  auto done = c->compact_chunk(f, 0);
  ASSERT_OK(done);
  EXPECT_FALSE(*done);
  EXPECT_EQ(c.records(f, 0), before);
}

TEST_P(Compaction, a_read_of_many_pieces_starts_it) {
  auto& c = client();
  Ino f = c.file("f");
  std::string shown = overlapping(c, f);
  ASSERT_OK(c->read_chunk(f, 0));
  c.settle();
  EXPECT_EQ(c.records(f, 0).size(), kSliceRecord);
  EXPECT_EQ(c.get(f), shown);
}

TEST_P(Compaction, every_hundredth_record_starts_it) {
  auto& c = client();
  Ino f = c.file("f");
  for (int i = 0; i < 98; i++) ASSERT_OK(c.put(f, static_cast<uint64_t>(i) * 1000, std::string(1000, 'x')));
  c.settle();
  EXPECT_EQ(c.records(f, 0).size(), 98 * kSliceRecord);
  ASSERT_OK(c.put(f, 98'000, std::string(1000, 'x')));
  c.settle();
  EXPECT_EQ(c.records(f, 0).size(), kSliceRecord);
  EXPECT_EQ(c.get(f), std::string(99'000, 'x'));
}

TEST_P(Compaction, a_very_long_list_is_compacted_before_the_write_returns) {
  auto& c = client();
  Ino f = c.file("f");
  std::string list;
  for (uint32_t i = 0; i < 2600; i++) encode_slice(list, Slice{i * 10, SliceId{0}, 0, 0, 10});
  ASSERT_OK(c.state().run({f}, [&](Txn& txn) -> Result<void> {
    txn.put(Key::chunk(f, 0), list);
    return {};
  }));
  ASSERT_OK(c.put(f, 0, "x"));
  EXPECT_LT(c.records(f, 0).size(), 2000 * kSliceRecord);
}

}  // namespace
}  // namespace zest::meta
