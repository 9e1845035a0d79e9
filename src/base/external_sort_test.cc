#include "base/external_sort.h"

#include <gtest/gtest.h>

#include <random>

namespace zest {
namespace {

std::vector<uint64_t> drain(ExternalSort<uint64_t>& sort) {
  std::vector<uint64_t> out;
  while (true) {
    auto next = sort.next();
    EXPECT_TRUE(next) << next.error().message();
    if (!next || !*next) return out;
    out.push_back(**next);
  }
}

TEST(ExternalSort, small_ones_stay_in_memory) {
  ExternalSort<uint64_t> sort;
  for (uint64_t n : {3, 1, 2, 1}) EXPECT_TRUE(sort.add(n));
  EXPECT_EQ((std::vector<uint64_t>{1, 1, 2, 3}), drain(sort));
}

TEST(ExternalSort, nothing) {
  ExternalSort<uint64_t> sort;
  EXPECT_TRUE(drain(sort).empty());
}

TEST(ExternalSort, more_than_fits_goes_through_a_file) {
  std::mt19937_64 random(7);
  ExternalSort<uint64_t> sort(8 * 1000);  // 50 runs, and pages of a run
  std::vector<uint64_t> wanted;
  for (int i = 0; i < 50'123; i++) wanted.push_back(random() % 20'000);
  for (auto n : wanted) ASSERT_TRUE(sort.add(n));
  std::sort(wanted.begin(), wanted.end());
  EXPECT_EQ(wanted.size(), sort.count());
  EXPECT_EQ(wanted, drain(sort));
}

}  // namespace
}  // namespace zest
