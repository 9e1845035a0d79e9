// What every storage must do, as a suite of tests that each storage's test instantiates:
//   INSTANTIATE_TEST_SUITE_P(Mem, StorageContract, testing::Values(StorageCase{"mem", make}));
// For tests only. The tests themselves are in contract_suite.h, which one file of each test program includes.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "object/storage.h"

namespace zest::object {

struct StorageCase {
  std::string name;
  std::function<std::shared_ptr<Storage>()> make;  // empty, created; what it stands on lives as long as the pointer
  bool plain_sizes = true;                         // head and list give the body's size
  bool strict_order = true;  // false for servers that list \"a/b\" before \"a-b\", which S3 does not
  friend std::ostream& operator<<(std::ostream& out, const StorageCase& c) { return out << c.name; }
};

class StorageContract : public testing::TestWithParam<StorageCase> {
 protected:
  void SetUp() override {
    store_ = GetParam().make();
    ASSERT_TRUE(store_);
  }
  Storage& store() { return *store_; }
  void put(const std::string& key, std::string_view body) {
    auto done = store().put(key, body);
    ASSERT_TRUE(done) << done.error().message();
  }
  // All keys of a listing that is read `limit` entries a page.
  std::vector<std::string> keys(const std::string& prefix, const std::string& after = {}, size_t limit = 1000,
                                const std::string& delimiter = {}) {
    std::vector<std::string> found;
    std::string token;
    for (int pages = 0; pages < 1000; pages++) {
      auto page = store().list(prefix, after, token, limit, delimiter);
      EXPECT_TRUE(page) << page.error().message();
      if (!page) break;
      EXPECT_LE(page->objects.size(), limit);
      for (auto& object : page->objects) {
        EXPECT_EQ(object.is_dir, object.key.ends_with('/'));
        found.push_back(object.key);
      }
      token = page->next;
      if (token.empty()) return found;
    }
    ADD_FAILURE() << "the listing does not end";
    return found;
  }
  using Keys = std::vector<std::string>;

 private:
  std::shared_ptr<Storage> store_;
};

inline std::string pattern(size_t size, uint32_t seed = 1) {
  std::string body(size, ' ');
  for (char& c : body) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return body;
}

}  // namespace zest::object
