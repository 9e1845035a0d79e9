#include "object/file_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <string>
#include <vector>

#include "object/test_dir.h"

namespace zest::object {
namespace {

// Mapped memory, so that its start is aligned.
class Memory {
 public:
  explicit Memory(size_t size) : size_(size) {
    void* map = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(map, MAP_FAILED);
    data_ = static_cast<char*>(map);
    std::minstd_rand random(static_cast<unsigned>(size));
    for (size_t i = 0; i < size; i++) data_[i] = static_cast<char>(random());
  }
  ~Memory() { ::munmap(data_, size_); }
  Memory(const Memory&) = delete;
  std::string_view view() const { return {data_, size_}; }
  std::span<char> room() { return {data_, size_}; }

 private:
  size_t size_;
  char* data_;
};

size_t cached_pages(int fd) {
  off_t size = ::lseek(fd, 0, SEEK_END);
  void* map = ::mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_SHARED, fd, 0);
  std::vector<unsigned char> pages((static_cast<size_t>(size) + 4095) / 4096);
  EXPECT_EQ(::mincore(map, static_cast<size_t>(size), pages.data()), 0);
  ::munmap(map, static_cast<size_t>(size));
  return static_cast<size_t>(std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return page & 1; }));
}

void write_and_read(const std::string& path, size_t size, size_t skip) {
  SCOPED_TRACE(path + ", " + std::to_string(size) + " bytes, memory " + std::to_string(skip) + " off");
  Memory data(size + skip), back(size + skip);
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(write_direct(fd, data.view().substr(skip)), 0);
  EXPECT_EQ(::fcntl(fd, F_GETFL) & O_DIRECT, 0) << "the descriptor is as before";
  ASSERT_EQ(::write(fd, "tail", 4), 4);
  ASSERT_EQ(::lseek(fd, 0, SEEK_END), static_cast<off_t>(size + 4));
  auto into = back.room().subspan(skip);
  ASSERT_EQ(read_all(fd, 0, into), static_cast<ssize_t>(size));
  EXPECT_EQ(back.view(), data.view());
  ::close(fd);
}

TEST(FileIo, WhateverTheSizeAndTheFileSystem) {
  TestDir dir;
  for (const std::string& folder : {dir.path(), std::string("/dev/shm")}) {
    std::string path = folder + "/zest-file-io-" + std::to_string(::getpid());
    for (size_t size : {size_t{1}, kDirectSize - 1, kDirectSize, kDirectSize + 1, 3 * kDirectSize + kDirectAlign + 17})
      for (size_t skip : {size_t{0}, size_t{8}}) write_and_read(path, size, skip);
    ::unlink(path.c_str());
  }
}

TEST(FileIo, LargePiecesLeaveThePageCacheAlone) {
  TestDir dir;
  Memory data(4 * kDirectSize), back(4 * kDirectSize);
  int fd = ::open((dir.path() + "/f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  bool direct = ::fcntl(fd, F_SETFL, O_RDWR | O_DIRECT) == 0;  // can this file system?
  ::fcntl(fd, F_SETFL, O_RDWR);
  ASSERT_EQ(write_direct(fd, data.view()), 0);
  EXPECT_EQ(cached_pages(fd), direct ? 0 : 1024u);
  ASSERT_EQ(read_all(fd, 0, back.room()), 4 << 20);
  EXPECT_EQ(back.view(), data.view());
  EXPECT_EQ(cached_pages(fd), direct ? 0 : 1024u);
  ::close(fd);
}

TEST(FileIo, ErrorsAndTheEndOfTheFile) {
  TestDir dir;
  Memory data(2 * kDirectSize), back(2 * kDirectSize);
  int fd = ::open((dir.path() + "/f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(write_direct(fd, data.view().substr(0, kDirectSize + 5)), 0);
  EXPECT_EQ(read_all(fd, 0, back.room()), static_cast<ssize_t>(kDirectSize + 5)) << "fewer at the end only";
  EXPECT_EQ(read_all(fd, 4 * kDirectSize, back.room()), 0);
  ::close(fd);
  fd = ::open((dir.path() + "/f").c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(write_direct(fd, data.view()), EBADF);
  EXPECT_EQ(write_all(fd, data.view()), EBADF);
  ::close(fd);
  EXPECT_EQ(read_all(fd, 0, back.room()), -1);
  if (int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC); full >= 0) {
    EXPECT_EQ(write_direct(full, data.view()), ENOSPC);
    ::close(full);
  }
}

}  // namespace
}  // namespace zest::object
