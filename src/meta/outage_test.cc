#include "meta/outage.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace zest::meta {
namespace {

const Error kAway{EIO, Fault::kUnavailable, "nothing listens"};

TEST(Outage, ABlipIsNotToldAnOutageIs) {
  Outage outage;
  outage.away(kAway, 1'000);
  outage.away(kAway, 1'900);
  outage.over(1'950);
  EXPECT_FALSE(outage.told());

  testing::internal::CaptureStderr();
  for (int64_t ms = 10'000; ms <= 80'000; ms += 100) outage.away(kAway, ms);
  EXPECT_TRUE(outage.told());
  outage.over(80'500);
  EXPECT_FALSE(outage.told());
  outage.over(81'000);
  std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("away for 1 s, operations wait for it: nothing listens"), std::string::npos) << said;
  EXPECT_NE(said.find("away for 61 s"), std::string::npos) << said;
  EXPECT_NE(said.find("back after 70 s"), std::string::npos) << said;
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 3) << said;
}

}  // namespace
}  // namespace zest::meta
