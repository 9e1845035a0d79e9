#include "object/file_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "object/file_sync.h"
#include "object/prefix.h"
#include "object/test_dir.h"

namespace zest::object {
namespace {

namespace fs = std::filesystem;

class FileStoreTest : public testing::Test {
 protected:
  TestDir dir_;
  std::unique_ptr<Storage> store_ = make_file_store(dir_.path() + "/r/");
  std::string path(const std::string& key) { return dir_.path() + "/r/" + key; }
};

TEST_F(FileStoreTest, PutMakesFoldersAndLeavesNoTemporaryFile) {
  mode_t mask = ::umask(022);
  ASSERT_TRUE(store_->put("chunks/0/0/1_0_5", "hello"));
  ::umask(mask);
  size_t entries = 0;
  for (auto& entry : fs::directory_iterator(path("chunks/0/0"))) {
    entries++;
    EXPECT_EQ(entry.path().filename(), "1_0_5");
  }
  EXPECT_EQ(entries, 1u);
  struct stat st;
  ASSERT_EQ(::stat(path("chunks/0/0/1_0_5").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0644u);
  ASSERT_EQ(::stat(path("chunks/0").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0755u);
}

TEST_F(FileStoreTest, KeysCannotLeaveTheRoot) {
  EXPECT_EQ(code_of(store_->put("../evil", "x")), EINVAL);
  EXPECT_EQ(code_of(store_->put("a/../../evil", "x")), EINVAL);
  std::ofstream(dir_.path() + "/secret") << "s";
  ASSERT_TRUE(store_->create());
  EXPECT_EQ(code_of(store_->get("../secret")), ENOENT);
  EXPECT_EQ(code_of(store_->head("../secret")), ENOENT);
  EXPECT_TRUE(store_->remove("../secret"));
  EXPECT_TRUE(fs::exists(dir_.path() + "/secret"));
  EXPECT_TRUE(store_->list("../", {}, {}, 10)->objects.empty());
  EXPECT_TRUE(store_->put("a/..b/c..", "fine"));
}

TEST_F(FileStoreTest, Folders) {
  ASSERT_TRUE(store_->put("d/", ""));
  EXPECT_TRUE(fs::is_directory(path("d")));
  EXPECT_TRUE(store_->head("d/")->is_dir);
  EXPECT_EQ(code_of(store_->head("d")), ENOENT);
  EXPECT_EQ(code_of(store_->get("d")), ENOENT);
  EXPECT_EQ(store_->get("d/").value(), "");
  ASSERT_TRUE(store_->put("d/x", "1"));
  EXPECT_EQ(code_of(store_->head("d/x/y")), ENOENT);
  EXPECT_TRUE(store_->remove("d"));
  EXPECT_TRUE(store_->remove("d/")) << "not empty: stays";
  EXPECT_TRUE(fs::exists(path("d/x")));
  ASSERT_TRUE(store_->remove("d/x"));
  ASSERT_TRUE(store_->remove("d/"));
  EXPECT_FALSE(fs::exists(path("d")));
}

TEST_F(FileStoreTest, MissingRootIsEmpty) {
  EXPECT_TRUE(store_->list("", {}, {}, 10)->objects.empty());
  EXPECT_EQ(code_of(store_->get("x")), ENOENT);
  ASSERT_TRUE(store_->create());
  ASSERT_TRUE(store_->create()) << "being there is success";
}

TEST_F(FileStoreTest, ListingSkipsWhatIsNoFile) {
  ASSERT_TRUE(store_->put("a/file", "12345"));
  fs::create_symlink("file", path("a/link"));
  fs::create_symlink("nowhere", path("a/broken"));
  fs::create_directory_symlink("..", path("a/loop"));
  ASSERT_EQ(::mkfifo(path("a/fifo").c_str(), 0600), 0);
  auto page = store_->list("", {}, {}, 100);
  ASSERT_TRUE(page);
  ASSERT_EQ(page->objects.size(), 2u);
  EXPECT_EQ(page->objects[0].key, "a/file");
  EXPECT_EQ(page->objects[1].key, "a/link");
  EXPECT_EQ(page->objects[1].size, 5u);
}

TEST_F(FileStoreTest, ErrorsNameTheKey) {
  ASSERT_TRUE(store_->put("file", "x"));
  auto done = store_->put("file/below", "x");
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().what.find("file/below"), std::string::npos);
  EXPECT_EQ(done.error().code, ENOTDIR);
  EXPECT_EQ(code_of(store_->put(std::string(300, 'n'), "x")), ENAMETOOLONG);
}

TEST_F(FileStoreTest, LongNamesStillGetATemporaryName) {
  std::string key = "d/" + std::string(255, 'n');
  ASSERT_TRUE(store_->put(key, "x"));
  EXPECT_EQ(store_->get(key).value(), "x");
}

TEST_F(FileStoreTest, Sync) {
  EXPECT_TRUE(store_->sync()) << "nothing to do";
  ASSERT_TRUE(store_->put("a/b/c", "x"));
  ASSERT_TRUE(store_->put("a/gone", "x"));
  ASSERT_TRUE(store_->put("d/e/", ""));
  ASSERT_TRUE(store_->remove("a/gone"));
  fs::remove_all(path("d"));
  EXPECT_TRUE(store_->sync()) << "what was removed meanwhile needs none";
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; i++) {
        EXPECT_TRUE(store_->put(std::to_string(t) + "/" + std::to_string(i), "x"));
        if (i % 5 == 0) {
          EXPECT_TRUE(store_->sync());
        }
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(store_->sync());
}

TEST_F(FileStoreTest, SyncErrorsReachEveryCallerOnce) {
  FileSync sync(path(""));
  ASSERT_TRUE(store_->create());
  fs::create_symlink("loop", path("loop"));
  sync.add_file(path("loop"));
  EXPECT_EQ(code_of(sync.sync()), ELOOP);
  EXPECT_TRUE(sync.sync());
}

TEST_F(FileStoreTest, VeryManyFilesAreSyncedWithTheFileSystem) {
  FileSync sync(path("nowhere"));
  for (int i = 0; i < 1001; i++) sync.add_file("x");
  EXPECT_EQ(code_of(sync.sync()), ENOENT) << "no single file is looked at, only the root";
}

TEST(Prefix, HidesWhatIsOutside) {
  TestDir dir;
  auto bare = make_file_store(dir.path() + "/");
  auto store = with_prefix(make_file_store(dir.path() + "/"), "vol/");
  ASSERT_TRUE(bare->put("other/x", "1"));
  ASSERT_TRUE(bare->put("vol-2/x", "1"));
  ASSERT_TRUE(store->put("x", "2"));
  EXPECT_EQ(bare->get("vol/x").value(), "2");
  auto page = store->list("", {}, {}, 10);
  ASSERT_EQ(page->objects.size(), 1u);
  EXPECT_EQ(page->objects[0].key, "x");
  EXPECT_EQ(store->describe(), "file://" + dir.path() + "/vol/");
}

}  // namespace
}  // namespace zest::object
