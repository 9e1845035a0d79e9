// truncate and fallocate (semantics.md 7.2, 7.3; encodings.md 5.2).
#include "base/bytes.h"
#include "files_fixture.h"

namespace zest::meta {
namespace {

class Truncate : public FilesTest {};
FILES_ON_EVERY_ENGINE(Truncate);

std::string bytes(std::string_view hex_digits) { return from_hex(hex_digits).value(); }

TEST_P(Truncate, records_are_those_of_the_format) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, 0, std::string(10000, 'x')));
  std::string write = c.records(f, 0);
  ASSERT_EQ(write.size(), kSliceRecord);
  ASSERT_OK(c->truncate(root_, f, 5000, true));
  std::string shrink = bytes("00001388 0000000000000000 00000000 00000000 00001388");
  EXPECT_EQ(hex(c.records(f, 0)), hex(write + shrink));
  ASSERT_OK(c->truncate(root_, f, 20000, true));
  std::string grow = bytes("00001388 0000000000000000 00000000 00000000 00003a98");
  EXPECT_EQ(hex(c.records(f, 0)), hex(write + shrink + grow));
  ASSERT_OK(c->truncate(root_, f, 200 << 20, true));
  std::string far = bytes("00004e20 0000000000000000 00000000 00000000 03ffb1e0");
  EXPECT_EQ(hex(c.records(f, 0)), hex(write + shrink + grow + far));
  EXPECT_EQ(c.records(f, 1), "");
  EXPECT_EQ(c.records(f, 2), "");
  EXPECT_EQ(hex(c.records(f, 3)), hex(bytes("00000000 0000000000000000 00000000 00000000 00800000")));
  EXPECT_EQ(c.get(f, 0, 20000), std::string(5000, 'x') + std::string(15000, '\0'));
}

TEST_P(Truncate, chunks_between_get_zeroes_only_where_they_exist) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, 2 * kChunkSize + 5, "middle"));
  ASSERT_OK(c.put(f, 4 * kChunkSize, "end"));
  ASSERT_OK(c->truncate(root_, f, 100, true));
  std::string whole = bytes("00000000 0000000000000000 00000000 00000000 04000000");
  EXPECT_EQ(hex(c.records(f, 0)), hex(bytes("00000064 0000000000000000 00000000 00000000 03ffff9c")));
  EXPECT_EQ(c.records(f, 1), "");
  EXPECT_EQ(c.records(f, 2).size(), 2 * kSliceRecord);
  EXPECT_EQ(hex(c.records(f, 2).substr(kSliceRecord)), hex(whole));
  EXPECT_EQ(c.records(f, 3), "");
  EXPECT_EQ(hex(c.records(f, 4).substr(kSliceRecord)),
            hex(bytes("00000000 0000000000000000 00000000 00000000 00000003")));
  ASSERT_OK(c->truncate(root_, f, 5 * kChunkSize, true));
  EXPECT_EQ(c.get(f, 2 * kChunkSize, 100), std::string(100, '\0'));
  EXPECT_EQ(c.get(f, 4 * kChunkSize, 100), std::string(100, '\0'));
}

TEST_P(Truncate, to_a_chunk_border) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c->truncate(root_, f, 2 * kChunkSize, true));
  EXPECT_EQ(hex(c.records(f, 0)), hex(bytes("00000000 0000000000000000 00000000 00000000 04000000")));
  EXPECT_EQ(c.records(f, 1), "");
  EXPECT_EQ(c.records(f, 2), "");
}

TEST_P(Truncate, sparse_giant) {
  auto& c = client();
  Ino f = c.file("f");
  uint64_t giant = kMaxFileSize - 1;
  ASSERT_OK(c->truncate(root_, f, giant, true));
  EXPECT_EQ(c.attr(f).length, giant);
  ASSERT_OK(c.put(f, 77 * kChunkSize, "island"));
  ASSERT_OK(c->truncate(root_, f, 10, true));
  EXPECT_EQ(c.records(f, 77).size(), 2 * kSliceRecord);
  ASSERT_OK(c->truncate(root_, f, 80 * kChunkSize, true));
  EXPECT_EQ(c.get(f, 77 * kChunkSize, 6), std::string(6, '\0'));
}

TEST_P(Truncate, errors_in_order) {
  auto& c = client();
  EXPECT_ERR(c->truncate(root_, Ino{999}, 1, false), ENOENT);
  EXPECT_ERR(c->truncate(root_, kRootIno, 1, false), EPERM);
  Ino f = c.file("f", kRootIno, 0644);
  EXPECT_ERR(c->truncate(root_, f, kMaxFileSize, false), EFBIG);
  EXPECT_ERR(c->truncate(user(500), f, 1, false), EACCES);
  EXPECT_OK(c->truncate(user(500), f, 1, true));  // the handle was opened for writing
  Attr flags;
  flags.flags = kFlagAppend;
  ASSERT_OK(c->setattr(root_, f, kSetFlags, flags));
  EXPECT_ERR(c->truncate(root_, f, 2, true), EPERM);
  flags.flags = kFlagImmutable;
  ASSERT_OK(c->setattr(root_, f, kSetFlags, flags));
  EXPECT_ERR(c->truncate(root_, f, 2, true), EPERM);
}

TEST_P(Truncate, times_and_the_same_length) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, 0, "abc"));
  Attr before = c.attr(f);
  ASSERT_OK(c->truncate(root_, f, 3, false));
  EXPECT_EQ(c.attr(f), before);
  auto same = c->truncate(root_, f, 3, true);
  ASSERT_OK(same);
  EXPECT_GT(same->mtime, before.mtime);
  EXPECT_EQ(c.records(f, 0).size(), kSliceRecord) << "no record for it";
  auto shorter = c->truncate(root_, f, 2, true);
  ASSERT_OK(shorter);
  Attr after = c.attr(f);
  EXPECT_EQ(after, *shorter);
  EXPECT_EQ(after.mtime, after.ctime);
  EXPECT_GT(after.mtime, before.mtime);
}

TEST_P(Truncate, trashed_file_only_through_a_handle) {
  set_format([](Format& format) { format.trash_days = 1; });
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c->unlink(root_, kRootIno, "f"));
  ASSERT_TRUE(c.attr(f).in_trash());
  EXPECT_ERR(c->truncate(root_, f, 1, false), EPERM);
  EXPECT_OK(c->truncate(root_, f, 1, true));
  EXPECT_ERR(c->open(root_, f, O_WRONLY), EPERM);
  // Whoever has it open may have it open again.
  EXPECT_OK(c->open(root_, f, O_RDONLY));
  EXPECT_OK(c->open(root_, f, O_WRONLY));
  EXPECT_OK(c->truncate(root_, f, 0, false));
}

TEST_P(Truncate, limits_hold_for_growth_only) {
  set_format([](Format& format) { format.capacity = 64 << 10; });
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c->truncate(root_, f, 32 << 10, true));
  EXPECT_ERR(c->truncate(root_, f, 1 << 20, true), ENOSPC);
  EXPECT_ERR(c->fallocate(root_, f, 0, 0, 1 << 20), ENOSPC);
  EXPECT_ERR(c.put(f, 1 << 20, "x"), ENOSPC);
  EXPECT_OK(c.put(f, 0, "x"));
  EXPECT_OK(c->truncate(root_, f, 100, true));
  EXPECT_EQ(c.used_space(), 4096);
}

TEST_P(Truncate, fallocate_modes) {
  auto& c = client();
  Ino f = c.file("f");
  struct Case {
    uint32_t mode;
    uint64_t offset, size;
    int error;
  };
  for (auto [mode, offset, size, error] :
       {Case{8, 0, 1, ENOTSUP}, Case{0x20, 0, 1, ENOTSUP}, Case{9, 0, 1, EINVAL}, Case{0x21, 0, 1, EINVAL},
        Case{2, 0, 1, EINVAL}, Case{0, 0, 0, EINVAL}, Case{0, kMaxFileSize, 1, EFBIG}, Case{0, 1, UINT64_MAX, EFBIG}})
    EXPECT_ERR(c->fallocate(root_, f, mode, offset, size), error) << mode;
  EXPECT_ERR(c->fallocate(root_, Ino{999}, 0, 0, 1), ENOENT);
  EXPECT_ERR(c->fallocate(root_, kRootIno, 0, 0, 1), EPERM);
  auto fifo = c->mknod(root_, kRootIno, "fifo", FileType::kFifo, 0644, 0, 0);
  ASSERT_OK(fifo);
  EXPECT_ERR(c->fallocate(root_, fifo->ino, 0, 0, 1), EPIPE);
  EXPECT_OK(c->fallocate(user(500), f, kFallocKeepSize, 0, 1));  // may, who has it open for writing
  Attr flags;
  flags.flags = kFlagAppend;
  ASSERT_OK(c->setattr(root_, f, kSetFlags, flags));
  EXPECT_OK(c->fallocate(root_, f, kFallocKeepSize, 0, 1));
  EXPECT_OK(c->fallocate(root_, f, 0, 0, 1));
  EXPECT_ERR(c->fallocate(root_, f, kFallocZeroRange, 0, 1), EPERM);
  flags.flags = kFlagImmutable;
  ASSERT_OK(c->setattr(root_, f, kSetFlags, flags));
  EXPECT_ERR(c->fallocate(root_, f, 0, 0, 1), EPERM);
}

TEST_P(Truncate, fallocate_records) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, 0, std::string(10000, 'x')));
  std::string write = c.records(f, 0);
  ASSERT_OK(c->fallocate(root_, f, 0, 5000, 10000));  // room only
  EXPECT_EQ(c.attr(f).length, 15000u);
  EXPECT_EQ(c.records(f, 0), write);
  ASSERT_OK(c->fallocate(root_, f, kFallocKeepSize, 5000, 100000));
  EXPECT_EQ(c.attr(f).length, 15000u);
  ASSERT_OK(c->fallocate(root_, f, kFallocPunchHole | kFallocKeepSize, 1000, 2000));
  std::string punched = write + bytes("000003e8 0000000000000000 00000000 00000000 000007d0");
  EXPECT_EQ(hex(c.records(f, 0)), hex(punched));
  // Zeroes reach to the old length only; what is beyond was never written.
  ASSERT_OK(c->fallocate(root_, f, kFallocZeroRange, 14000, 6000));
  EXPECT_EQ(hex(c.records(f, 0)), hex(punched + bytes("000036b0 0000000000000000 00000000 00000000 000003e8")));
  EXPECT_EQ(c.attr(f).length, 20000u);
  EXPECT_EQ(c.get(f),
            std::string(1000, 'x') + std::string(2000, '\0') + std::string(7000, 'x') + std::string(10000, '\0'));
  ASSERT_OK(c->fallocate(root_, f, kFallocPunchHole | kFallocKeepSize, 50000, 10));
  EXPECT_EQ(c.records(f, 0).size(), 3 * kSliceRecord);
}

TEST_P(Truncate, directory_statistics_follow_the_length) {
  auto& c = client();
  Ino d = c.dir("d");
  Ino f = c.file("f", d);
  ASSERT_OK(c->truncate(root_, f, 10000, true));
  ASSERT_OK(c->flush_ledgers());
  auto stat = c->dir_stat(d);
  ASSERT_OK(stat);
  EXPECT_EQ(*stat, (DirStat{10000, 12288, 1}));
  ASSERT_OK(c->link(root_, f, kRootIno, "second"));
  ASSERT_OK(c->truncate(root_, f, 5000, true));
  ASSERT_OK(c->flush_ledgers());
  stat = c->dir_stat(d);
  ASSERT_OK(stat);
  EXPECT_EQ(*stat, (DirStat{5000, 8192, 1}));
  auto of_root = c->dir_stat(kRootIno);
  ASSERT_OK(of_root);
  EXPECT_EQ(*of_root, (DirStat{5000, 12288, 2}));
}

}  // namespace
}  // namespace zest::meta
