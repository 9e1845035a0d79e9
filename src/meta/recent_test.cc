#include "meta/recent.h"

#include <gtest/gtest.h>

namespace zest::meta {
namespace {

Key inode(uint64_t i) { return Key::inode(Ino{i}); }
Attr changed_at(int64_t sec) {
  Attr attr;
  attr.ctime = {sec, 0};
  return attr;
}

TEST(Recent, HoldsSomeThousandAlsoWhenAllIsLookedAt) {
  Recent recent;
  constexpr uint64_t kRecords = 40'000;
  for (uint64_t i = 0; i < kRecords; i++) {
    recent.keep(inode(i), Attr{});
    if (i % 1000 != 999) continue;
    for (uint64_t k = 0; k <= i; k++) (void)recent.find(inode(k), 0);
  }
  size_t held = 0;
  for (uint64_t i = 0; i < kRecords; i++) held += recent.find(inode(i), 0).has_value();
  EXPECT_LE(held, 16u * 2 * 512);
  EXPECT_GE(held, 16u * 256);
}

TEST(Recent, WhatIsLookedAtStays) {
  Recent recent;
  recent.keep(inode(7), changed_at(5));
  for (uint64_t i = 100; i < 60'000; i++) {
    recent.keep(inode(i), Attr{});
    ASSERT_EQ(recent.find(inode(7), 0), Value(changed_at(5))) << i;
  }
  EXPECT_FALSE(recent.find(inode(100), 0)) << "what is not, goes";
}

TEST(Recent, WhatWasReadDoesNotReplaceWhatIsNewer) {
  Recent recent;
  recent.keep(inode(2), changed_at(10));
  recent.keep_seen(inode(2), changed_at(9), 0);
  EXPECT_EQ(recent.find(inode(2), 0), Value(changed_at(10)));
  recent.keep_seen(inode(2), changed_at(11), 0);
  EXPECT_EQ(recent.find(inode(2), 0), Value(changed_at(11)));
  recent.keep(inode(2), changed_at(3));  // about to be written
  EXPECT_EQ(recent.find(inode(2), 0), Value(changed_at(3)));
}

TEST(Recent, WhatIsDistrustedIsNotGivenOutForASecond) {
  Recent recent;
  recent.keep(inode(2), changed_at(10));
  recent.distrust(inode(2), 5'000);
  EXPECT_FALSE(recent.find(inode(2), 5'999));
  EXPECT_TRUE(recent.find(inode(2), 6'000));
}

TEST(Recent, OtherKindsAreIgnoredAndAbsenceIsKept) {
  Recent recent;
  recent.keep(Key::symlink(Ino{2}), std::string("x"));
  EXPECT_FALSE(recent.find(Key::symlink(Ino{2}), 0));
  recent.keep(Key::entry(Ino{1}, "a"), Value());
  EXPECT_EQ(recent.find(Key::entry(Ino{1}, "a"), 0), Value());
  EXPECT_FALSE(recent.find(Key::entry(Ino{1}, "b"), 0));
}

}  // namespace
}  // namespace zest::meta
