#include "object/contract_suite.h"
#include "object/file_store.h"
#include "object/mem_store.h"
#include "object/prefix.h"
#include "object/test_dir.h"

namespace zest::object {
namespace {

// A store that keeps its folder alive.
std::shared_ptr<Storage> on_folder(const std::function<std::unique_ptr<Storage>(const std::string&)>& make) {
  auto dir = std::make_shared<TestDir>();
  std::shared_ptr<Storage> store = make(dir->path() + "/root/");
  if (auto done = store->create(); !done) return nullptr;
  return {store.get(), [dir, store](Storage*) {}};
}

const StorageCase kCases[] = {
    {"mem", [] { return std::shared_ptr<Storage>(make_mem_store()); }},
    {"file", [] { return on_folder([](const std::string& root) { return make_file_store(root); }); }},
    {"file_stem", [] { return on_folder([](const std::string& root) { return make_file_store(root + "stem-"); }); }},
    {"prefix_on_mem", [] { return std::shared_ptr<Storage>(with_prefix(make_mem_store(), "vol/")); }},
    {"prefix_on_file",
     [] { return on_folder([](const std::string& root) { return with_prefix(make_file_store(root), "vol/"); }); }},
};
INSTANTIATE_TEST_SUITE_P(Stores, StorageContract, testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace zest::object
