// SEEK_DATA and SEEK_HOLE (lseek(2)).
#include "files_fixture.h"

namespace zest::meta {
namespace {

class Seek : public FilesTest {};
FILES_ON_EVERY_ENGINE(Seek);

TEST_P(Seek, whole_pages_of_what_was_written) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, 5000, "abc"));
  ASSERT_OK(c.put(f, 20'000, std::string(5000, 'x')));
  const uint64_t length = 25'000;
  EXPECT_EQ(c->seek(f, 0, length, false).value_or(0), 4096u);
  EXPECT_EQ(c->seek(f, 6000, length, false).value_or(0), 6000u);
  EXPECT_EQ(c->seek(f, 8192, length, false).value_or(0), 16'384u);
  EXPECT_EQ(c->seek(f, 0, length, true).value_or(1), 0u);
  EXPECT_EQ(c->seek(f, 5000, length, true).value_or(0), 8192u);
  EXPECT_EQ(c->seek(f, 16'384, length, true).value_or(0), length) << "the end of a file is a hole";
}

TEST_P(Seek, over_chunks) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, kChunkSize - 4096, std::string(8192, 'x')));
  const uint64_t far = 1000 * kChunkSize;
  ASSERT_OK(c.put(f, far, "y"));
  const uint64_t length = far * 2;
  ASSERT_OK(c->truncate(root_, f, length, true));
  EXPECT_EQ(c->seek(f, 0, length, false).value_or(0), kChunkSize - 4096);
  EXPECT_EQ(c->seek(f, kChunkSize - 4096, length, true).value_or(0), kChunkSize + 4096);
  EXPECT_EQ(c->seek(f, kChunkSize + 4096, length, false).value_or(0), far);
  EXPECT_ERR(c->seek(f, far + 4096, length, false), ENXIO);
  EXPECT_EQ(c->seek(f, far + 4096, length, true).value_or(0), far + 4096);
}

TEST_P(Seek, what_was_cut_off_or_punched_is_a_hole) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c.put(f, 0, std::string(40'960, 'x')));
  ASSERT_OK(c->fallocate(root_, f, kFallocPunchHole | kFallocKeepSize, 8192, 8192));
  EXPECT_EQ(c->seek(f, 0, 40'960, true).value_or(0), 8192u);
  EXPECT_EQ(c->seek(f, 8192, 40'960, false).value_or(0), 16'384u);
  ASSERT_OK(c->truncate(root_, f, 0, true));
  ASSERT_OK(c->truncate(root_, f, 40'960, true));
  EXPECT_ERR(c->seek(f, 0, 40'960, false), ENXIO);
}

}  // namespace
}  // namespace zest::meta
