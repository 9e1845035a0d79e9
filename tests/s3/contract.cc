// The contract of storages on an S3 server that runs already: ZEST_S3_BUCKET (a URL), ZEST_S3_ACCESS and
// ZEST_S3_SECRET.
#include <atomic>
#include <cstdlib>

#include "object/contract_suite.h"
#include "object/open.h"
#include "object/prefix.h"

namespace zest::object {
namespace {

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::atomic<int> next_folder = 0;

std::shared_ptr<Storage> fresh() {
  auto store =
      open_store("s3", setting("ZEST_S3_BUCKET"), {setting("ZEST_S3_ACCESS"), setting("ZEST_S3_SECRET"), {}}, {});
  EXPECT_TRUE(store) << store.error().message();
  auto made = (*store)->create();
  EXPECT_TRUE(made) << made.error().message();
  return with_prefix(std::move(*store), "t" + std::to_string(next_folder++) + "/");
}

// Some servers list by folders, so that "a/b" comes before "a-b".
INSTANTIATE_TEST_SUITE_P(Server, StorageContract,
                         testing::Values(StorageCase{"s3", fresh, true, setting("ZEST_S3_ORDER") != "folders"}),
                         [](const auto& info) { return info.param.name; });

TEST(Server, RefusesAWrongSecret) {
  auto bad = open_store("s3", setting("ZEST_S3_BUCKET"), {setting("ZEST_S3_ACCESS"), "wrong", {}}, {});
  ASSERT_TRUE(bad);
  EXPECT_EQ(code_of((*bad)->put("k", "x")), EACCES);
}

}  // namespace
}  // namespace zest::object

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (!zest::object::setting("ZEST_S3_BUCKET").empty()) return RUN_ALL_TESTS();
  std::cerr << "ZEST_S3_BUCKET does not say where the server is\n";
  return 1;
}
