#include "object/open.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "object/test_dir.h"

namespace zest::object {
namespace {

TEST(Open, UnknownNames) {
  EXPECT_EQ(code_of(open_store("floppy", "a:", {}, {})), EINVAL);
  EXPECT_EQ(code_of(open_store("file", "", {}, {})), EINVAL);
}

TEST(Open, VolumeStoreOnFiles) {
  TestDir dir;
  Format format;
  format.name = "myvol";
  format.bucket = dir.path() + "/b";
  auto store = open_volume_store(format, {}, {});
  ASSERT_TRUE(store) << store.error().message();
  ASSERT_TRUE((*store)->create());
  auto probed = probe_store(**store);
  ASSERT_TRUE(probed) << probed.error().message();
  ASSERT_TRUE((*store)->put("chunks/0/0/1_0_5", "hello"));
  auto bare = open_store("file", dir.path() + "/b/", {}, {});
  ASSERT_TRUE(bare);
  EXPECT_EQ((*bare)->get("myvol/chunks/0/0/1_0_5").value(), "hello");
  EXPECT_EQ((*bare)->list("", {}, {}, 10)->objects.size(), 1u) << "the probe cleans up";
}

TEST(Open, RemoveFolders) {
  TestDir dir;
  Format format;
  format.name = "vol";
  format.shards = 3;
  format.bucket = dir.path() + "/b%d/";
  auto store = open_volume_store(format, {}, {});
  ASSERT_TRUE(store);
  for (int i = 0; i < 30; i++) {
    std::string key = "a/b/" + std::to_string(i % 7) + "/" + std::to_string(i);
    ASSERT_TRUE((*store)->put(key, "x"));
    if (i != 5) {
      ASSERT_TRUE((*store)->remove(key)) << key;
    }
  }
  ASSERT_TRUE(remove_folders(**store, ""));
  EXPECT_EQ((*store)->get("a/b/5/5").value(), "x") << "what is not empty stays";
  ASSERT_TRUE((*store)->remove("a/b/5/5"));
  ASSERT_TRUE(remove_folders(**store, ""));
  for (int i = 0; i < 3; i++)
    EXPECT_FALSE(std::filesystem::exists(dir.path() + "/b" + std::to_string(i) + "/vol")) << i;
}

TEST(Open, UploadLimitOfTheVolume) {
  TestDir dir;
  Format format;
  format.name = "vol";
  format.bucket = dir.path() + "/";
  format.upload_limit = 8;  // Mbps: a million bytes a second
  auto store = open_volume_store(format, {}, {});
  ASSERT_TRUE(store);
  auto begin = system_clock().monotonic_ms();
  ASSERT_TRUE((*store)->put("k", std::string(270'000, 'x')));
  EXPECT_GE(system_clock().monotonic_ms() - begin, 190) << "100,000 at once, the rest at 850,000 a second";
}

}  // namespace
}  // namespace zest::object
