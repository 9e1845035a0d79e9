// Writing and reading chunks, copying ranges (semantics.md 7.4, 7.5; encodings.md 5).
#include "base/bytes.h"
#include "breaking.h"
#include "files_fixture.h"

namespace zest::meta {
namespace {

class WriteFile : public FilesTest {};
FILES_ON_EVERY_ENGINE(WriteFile);

Meta::ChunkWrite record(ChunkIndex chunk, uint32_t pos, SliceId id, uint32_t size, Time mtime = {}) {
  return {chunk, Slice{pos, id, size, 0, size}, mtime};
}

TEST_P(WriteFile, first_record_is_that_of_the_format) {
  auto& c = client();
  Ino f = c.file("f");
  auto id = c->new_slice_id();
  ASSERT_OK(id);
  EXPECT_EQ(raw(*id), 1u);
  Time mtime{1700000000, 123456789};
  auto attr = c->write(f, std::vector{record(0, 0, *id, 6, mtime)});
  ASSERT_OK(attr);
  EXPECT_EQ(hex(c.records(f, 0)), "000000000000000000000001000000060000000000000006");
  EXPECT_EQ(attr->length, 6u);
  EXPECT_EQ(attr->mtime, mtime);
  EXPECT_GT(attr->ctime, mtime) << "that of its creation";
  EXPECT_EQ(*attr, c.attr(f));
  EXPECT_EQ(c.refs(*id, 6), 1);
}

TEST_P(WriteFile, ctime_is_when_it_was_written) {
  auto& c = client();
  Ino f = c.file("f");
  const Time written = c.state().clock.now();
  c.state().clock.sleep_ms(3);
  auto attr = c->write(f, std::vector{record(0, 0, c->new_slice_id().value(), 6, written)});
  ASSERT_OK(attr);
  EXPECT_EQ(attr->ctime, written) << "not when it was committed";
  const Time chosen{written.sec + 1'000'000, 0};
  attr = c->write(f, std::vector{record(0, 6, c->new_slice_id().value(), 6, chosen)});
  ASSERT_OK(attr);
  EXPECT_EQ(attr->mtime, chosen);
  EXPECT_EQ(attr->ctime, written) << "whoever chose it moved ctime then";
}

TEST_P(WriteFile, several_records_at_once) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, kChunkSize - 3, "abcdef"));
  EXPECT_EQ(c.records(f, 0).size(), kSliceRecord);
  EXPECT_EQ(c.records(f, 1).size(), kSliceRecord);
  EXPECT_EQ(c.attr(f).length, kChunkSize + 3);
  EXPECT_EQ(c.get(f, kChunkSize - 5), std::string("\0\0abcdef", 8));
  ASSERT_OK(c.put(f, kChunkSize - 1, "X"));
  EXPECT_EQ(c.get(f, kChunkSize - 3), "abXdef");
  EXPECT_EQ(c.attr(f).length, kChunkSize + 3);
}

TEST_P(WriteFile, errors) {
  auto& c = client();
  EXPECT_ERR(c.put(Ino{999}, 0, "x"), ENOENT);
  EXPECT_ERR(c.put(kRootIno, 0, "x"), EPERM);
  Ino f = c.file("f");
  auto id = c->new_slice_id();
  ASSERT_OK(id);
  EXPECT_ERR(c->write(f, std::vector{record(0, kChunkSize - 1, *id, 2)}), EINVAL);
  EXPECT_ERR(c->write(f, std::vector{record(UINT32_MAX, 0, *id, 2)}), EINVAL);
  EXPECT_ERR(c->write(f, std::vector{Meta::ChunkWrite{0, Slice{0, *id, 10, 5, 6}, {}}}), EINVAL);
  EXPECT_EQ(c.records(f, 0), "");
}

TEST_P(WriteFile, a_slice_whose_commit_was_in_doubt_is_not_written_twice) {
  auto& c = client();
  Ino f = c.file("f");
  auto id = c->new_slice_id();
  ASSERT_OK(id);
  data_.put(*id, "abc");
  ASSERT_OK(c->write(f, std::vector{record(0, 0, *id, 3)}));
  c.state().doubtful.add(*id, {0, 0});
  ASSERT_OK(c->write(f, std::vector{record(0, 0, *id, 3)}));
  EXPECT_EQ(c.records(f, 0).size(), kSliceRecord);
  EXPECT_EQ(c.refs(*id, 3), 1);
  EXPECT_FALSE(c.state().doubtful.contains(*id));
  // one that did not arrive is written
  auto lost = c->new_slice_id();
  ASSERT_OK(lost);
  c.state().doubtful.add(*lost, {3, 6});
  data_.put(*lost, "def");
  ASSERT_OK(c->write(f, std::vector{record(0, 3, *lost, 3)}));
  EXPECT_EQ(c.get(f), "abcdef");
}

TEST_P(WriteFile, reading) {
  auto& c = client();
  EXPECT_ERR(c->read_chunk(Ino{999}, 0), ENOENT);
  EXPECT_ERR(c->read_chunk(kRootIno, 0), EPERM);
  Ino f = c.file("f");
  auto empty = c->read_chunk(f, 5);
  ASSERT_OK(empty);
  EXPECT_TRUE(empty->pieces.empty());
  EXPECT_EQ(empty->records, 0u);
  // the six overlapping writes of encodings.md 5.1
  std::vector<SliceId> ids;
  for (uint64_t i = 0; i < 6; i++) ASSERT_OK(c.put(f, i * 2000, std::string(3000, static_cast<char>('a' + i))));
  auto view = c->read_chunk(f, 0);
  ASSERT_OK(view);
  ASSERT_EQ(view->pieces.size(), 6u);
  for (size_t i = 0; i < 5; i++) {
    EXPECT_EQ(view->pieces[i].len, 2000u);
    EXPECT_EQ(view->pieces[i].off, 0u);
  }
  EXPECT_EQ(view->pieces[5].len, 3000u);
}

TEST_P(WriteFile, broken_list_of_slices) {
  recount_at_end_ = false;
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.state().run({f}, [&](Txn& txn) -> Result<void> {
    txn.put(Key::chunk(f, 0), std::string(25, 'x'));
    return {};
  }));
  EXPECT_ERR(c->read_chunk(f, 0), EIO);
}

TEST_P(WriteFile, own_writes_are_seen_and_others_after_an_attribute_refresh) {
  auto& c = client();
  auto other = connect();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, 0, "one"));
  ASSERT_OK(c->open(root_, f, O_RDWR));
  EXPECT_EQ(c.get(f), "one");
  ASSERT_OK(c.put(f, 0, "two"));
  EXPECT_EQ(c.get(f), "two");
  ASSERT_OK(other->put(f, 0, "six"));
  EXPECT_EQ(c.get(f), "six");  // get() asks for the attributes first
  ASSERT_OK(c->truncate(root_, f, 1, true));
  ASSERT_OK(c->truncate(root_, f, 3, true));
  EXPECT_EQ(c.get(f), std::string("s\0\0", 3));
  c->forget_chunk(f, 0);
  EXPECT_EQ(c.get(f), std::string("s\0\0", 3));
  ASSERT_OK(c->close(f));
}

TEST_P(WriteFile, copy_file_range_shares_slices) {
  auto& c = client();
  Ino a = c.file("a"), b = c.file("b");
  std::string data(100000, '\0');
  for (size_t i = 0; i < data.size(); i++) data[i] = static_cast<char>('a' + i % 26);
  ASSERT_OK(c.put(a, 0, data));
  SliceId id = data_.ids().at(0);
  // over a border of the destination's chunks
  auto copied = c->copy_file_range(root_, a, 1000, b, kChunkSize - 500, 3000);
  ASSERT_OK(copied);
  EXPECT_EQ(copied->bytes, 3000u);
  EXPECT_EQ(copied->attr.length, kChunkSize + 2500);
  std::string first, second;
  encode_slice(first, Slice{static_cast<uint32_t>(kChunkSize) - 500, id, 100000, 1000, 500});
  encode_slice(second, Slice{0, id, 100000, 1500, 2500});
  EXPECT_EQ(hex(c.records(b, 0)), hex(first));
  EXPECT_EQ(hex(c.records(b, 1)), hex(second));
  EXPECT_EQ(c.refs(id, 100000), 3);
  EXPECT_EQ(c.get(b, kChunkSize - 500), data.substr(1000, 3000));
  // the slice lives as long as any of them does
  ASSERT_OK(c->unlink(root_, kRootIno, "a"));
  c.settle();
  EXPECT_EQ(c.refs(id, 100000), 2);
  EXPECT_EQ(c.get(b, kChunkSize - 500), data.substr(1000, 3000));
  ASSERT_OK(c->unlink(root_, kRootIno, "b"));
  c.settle();
  EXPECT_FALSE(data_.has(id));
}

TEST_P(WriteFile, copied_record_of_the_format) {
  auto& c = client();
  Ino a = c.file("a"), b = c.file("b");
  for (int i = 0; i < 7; i++) ASSERT_OK(c->new_slice_id());
  ASSERT_OK(c.put(a, 0, std::string(100000, 'x')));  // slice 8
  ASSERT_OK(c->copy_file_range(root_, a, 1000, b, kChunkSize - 500, 500));
  EXPECT_EQ(hex(c.records(b, 0)), "03fffe0c0000000000000008000186a0000003e8000001f4");
}

TEST_P(WriteFile, copy_file_range_copies_holes_and_overwrites) {
  auto& c = client();
  Ino a = c.file("a"), b = c.file("b");
  ASSERT_OK(c.put(a, 100, "head"));
  ASSERT_OK(c->truncate(root_, a, kChunkSize + 50, true));
  ASSERT_OK(c.put(b, 0, std::string(kChunkSize + 100, 'z')));
  auto copied = c->copy_file_range(root_, a, 50, b, 10, UINT32_MAX);
  ASSERT_OK(copied);
  EXPECT_EQ(copied->bytes, kChunkSize);
  EXPECT_EQ(c.get(b, 0, 100), std::string(10, 'z') + std::string(50, '\0') + "head" + std::string(36, '\0'));
  EXPECT_EQ(c.get(b, kChunkSize, 100), std::string(10, '\0') + std::string(90, 'z'));
  EXPECT_EQ(c.attr(b).length, kChunkSize + 100);
}

TEST_P(WriteFile, copy_file_range_within_a_file) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, 0, "abcdef"));
  auto copied = c->copy_file_range(root_, f, 1, f, 6, 3);
  ASSERT_OK(copied);
  EXPECT_EQ(c.get(f), "abcdefbcd");
}

TEST_P(WriteFile, copy_file_range_errors) {
  auto& c = client();
  Ino a = c.file("a"), b = c.file("b");
  ASSERT_OK(c.put(a, 0, "abc"));
  EXPECT_ERR(c->copy_file_range(root_, Ino{999}, 0, b, 0, 1), ENOENT);
  EXPECT_ERR(c->copy_file_range(root_, a, 0, Ino{999}, 0, 1), ENOENT);
  EXPECT_ERR(c->copy_file_range(root_, kRootIno, 0, b, 0, 1), EINVAL);
  EXPECT_ERR(c->copy_file_range(root_, a, 0, kRootIno, 0, 1), EINVAL);
  EXPECT_ERR(c->copy_file_range(root_, a, 0, b, kMaxFileSize - 1, 10), EFBIG);
  Attr before = c.attr(b);
  auto none = c->copy_file_range(root_, a, 3, b, 0, 10);
  ASSERT_OK(none);
  EXPECT_EQ(none->bytes, 0u);
  EXPECT_EQ(c.attr(b), before);
  auto clamped = c->copy_file_range(root_, a, 2, b, 0, 10);
  ASSERT_OK(clamped);
  EXPECT_EQ(clamped->bytes, 1u);
  for (uint8_t flag : {kFlagImmutable, kFlagAppend}) {
    Attr flags;
    flags.flags = flag;
    ASSERT_OK(c->setattr(root_, b, kSetFlags, flags));
    EXPECT_ERR(c->copy_file_range(root_, a, 0, b, 0, 1), EPERM);
  }
}

TEST_P(WriteFile, growth_counts_for_a_name_that_is_removed_right_after) {
  conformance::Breaks breaks;
  auto writer = connect({}, false, [&](std::unique_ptr<Engine> engine) {
    return std::make_unique<conformance::BreakingEngine>(std::move(engine), breaks);
  });
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c->link(root_, f, kRootIno, "second"));
  breaks.then = [&] { EXPECT_OK(c->unlink(root_, kRootIno, "second")); };
  ASSERT_OK(writer->put(f, 0, std::string(5000, 'x')));
  EXPECT_FALSE(breaks.then);
  ASSERT_OK((*writer)->flush_ledgers());
  ASSERT_OK(c->flush_ledgers());
  auto stat = c->dir_stat(kRootIno);
  ASSERT_OK(stat);
  EXPECT_EQ(*stat, (DirStat{5000, 8192, 1}));
}

TEST_P(WriteFile, data_past_the_length_is_deleted_with_the_file) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, 0, "first"));
  ASSERT_OK(c.put(f, 3 * kChunkSize, "last"));
  ASSERT_OK(c->truncate(root_, f, 0, true));
  ASSERT_EQ(data_.ids().size(), 2u);
  ASSERT_OK(c->unlink(root_, kRootIno, "f"));
  c.settle();
  EXPECT_TRUE(data_.ids().empty());
  EXPECT_EQ(c.records(f, 0), "");
  EXPECT_EQ(c.records(f, 3), "");
  EXPECT_FALSE(c.exists(Key::del_file(f, 0)));
}

TEST_P(WriteFile, client_that_could_not_renew_its_session_commits_nothing) {
  Options options;
  options.heartbeat_ms = 3600'000;
  auto c = connect(options);
  Ino f = c->file("f");
  ASSERT_OK(c->put(f, 0, "abc"));
  // As after a sleep of two days, and with the volume gone from the database, so that it cannot be renewed.
  c->state().jobs->session_renewed(system_clock().monotonic_ms() - 48LL * 3600'000, 0);
  std::string setting;
  ASSERT_OK(c->state().run({}, [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(const Value* value, txn.get(Key::setting()));
    setting = std::get<std::string>(*value);
    txn.put(Key::setting(), std::string("no JSON"));
    return {};
  }));
  EXPECT_ERR(c->put(f, 0, "xyz"), EIO);
  ASSERT_OK(c->state().run({}, [&](Txn& txn) -> Result<void> {
    txn.put(Key::setting(), setting);
    return {};
  }));
  EXPECT_OK(c->put(f, 0, "xyz"));
  EXPECT_EQ(c->get(f), "xyz");
}

}  // namespace
}  // namespace zest::meta
