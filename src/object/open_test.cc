#include "object/open.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace zest::object
