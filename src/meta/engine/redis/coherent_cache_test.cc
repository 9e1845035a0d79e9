#include "meta/engine/redis/coherent_cache.h"

#include <gtest/gtest.h>

namespace zest::meta::redis {
namespace {

Attr of_length(uint64_t length) {
  Attr attr;
  attr.length = length;
  return attr;
}

class Cache : public testing::Test {
 protected:
  void SetUp() override {
    Watcher watcher;
    watcher.inode = [this](Ino ino, bool data) {
      told_ += (data ? "data " : "attr ") + std::to_string(raw(ino)) + ";";
    };
    watcher.entry = [this](Ino dir, const std::string& name) { told_ += std::to_string(raw(dir)) + "/" + name + ";"; };
    cache_.watch(watcher);
    cache_.set_live(true);
  }
  std::string told() {
    cache_.tell();
    return std::exchange(told_, {});
  }
  std::optional<uint64_t> length() {
    auto value = cache_.find(inode_);
    return value ? std::optional<uint64_t>(std::get<Attr>(*value).length) : std::nullopt;
  }
  // As the thread that hears of changes does.
  void verify(const std::map<Key, Value>& database) {
    const uint64_t since = cache_.now();
    for (const Key& key : cache_.take_doubtful()) cache_.verified(key, database.at(key), since);
  }

  CoherentCache cache_{4, 60'000};
  std::string told_;
  const Key inode_ = Key::inode(Ino{5}), entry_ = Key::entry(Ino{1}, "a");
};

TEST_F(Cache, GivesWhatWasFetchedUntilItIsInvalidated) {
  cache_.fetched(inode_, of_length(1), cache_.now());
  EXPECT_EQ(length(), 1u);
  cache_.inode_invalidated(Ino{6});
  EXPECT_EQ(length(), 1u);
  cache_.inode_invalidated(Ino{5});
  EXPECT_EQ(length(), std::nullopt);
  verify({{inode_, of_length(2)}});
  EXPECT_EQ(length(), 2u);
  EXPECT_EQ(told(), "data 5;");
}

TEST_F(Cache, WhatWasReadBeforeAnInvalidationIsNotGivenOut) {
  const uint64_t since = cache_.now();
  cache_.inode_invalidated(Ino{5});
  cache_.fetched(inode_, of_length(1), since);
  EXPECT_EQ(length(), std::nullopt);
  // but somebody was told of it, so it is looked at again
  verify({{inode_, of_length(2)}});
  EXPECT_EQ(told(), "data 5;");
}

TEST_F(Cache, EntriesFollowTheirDirectory) {
  cache_.fetched(entry_, Entry{FileType::kFile, Ino{5}}, cache_.now());
  cache_.fetched(Key::entry(Ino{1}, "absent"), Value{}, cache_.now());
  cache_.fetched(Key::entry(Ino{2}, "a"), Value{}, cache_.now());
  cache_.dir_invalidated(Ino{1});
  EXPECT_FALSE(cache_.find(entry_));
  EXPECT_TRUE(cache_.find(Key::entry(Ino{2}, "a")));
  verify({{entry_, Entry{FileType::kFile, Ino{5}}}, {Key::entry(Ino{1}, "absent"), Entry{FileType::kFile, Ino{6}}}});
  EXPECT_TRUE(cache_.find(entry_));
  EXPECT_EQ(told(), "1/absent;");
}

TEST_F(Cache, OwnCommitsAreNoNews) {
  cache_.fetched(inode_, of_length(1), cache_.now());
  cache_.committed(inode_, of_length(1), of_length(2), cache_.now());
  EXPECT_EQ(length(), 2u);
  cache_.inode_invalidated(Ino{5});
  verify({{inode_, of_length(2)}});
  EXPECT_EQ(told(), "");
  // the message may come before the answer to the commit
  const uint64_t since = cache_.now();
  cache_.inode_invalidated(Ino{5});
  cache_.committed(inode_, of_length(2), of_length(3), since);
  EXPECT_EQ(length(), std::nullopt);
  verify({{inode_, of_length(3)}});
  EXPECT_EQ(length(), 3u);
  EXPECT_EQ(told(), "");
}

TEST_F(Cache, AChangeByOthersUnderAnOwnOneIsNews) {
  cache_.fetched(inode_, of_length(1), cache_.now());
  cache_.inode_invalidated(Ino{5});
  cache_.fetched(inode_, of_length(2), cache_.now());  // read by a transaction of this client
  cache_.committed(inode_, of_length(2), of_length(3), cache_.now());
  cache_.inode_invalidated(Ino{5});
  verify({{inode_, of_length(3)}});
  EXPECT_EQ(told(), "data 5;");
}

TEST_F(Cache, AVerificationThatIsOvertakenIsDoneAgain) {
  cache_.fetched(inode_, of_length(1), cache_.now());
  cache_.inode_invalidated(Ino{5});
  ASSERT_EQ(cache_.take_doubtful().size(), 1u);
  const uint64_t since = cache_.now();
  cache_.inode_invalidated(Ino{5});
  cache_.fetched(inode_, of_length(3), cache_.now());
  cache_.verified(inode_, of_length(2), since);
  EXPECT_EQ(length(), 3u);
  verify({{inode_, of_length(3)}});
  EXPECT_EQ(told(), "data 5;");
}

TEST_F(Cache, AttributesAloneAreTold) {
  Attr attr = of_length(1);
  cache_.fetched(inode_, attr, cache_.now());
  cache_.inode_invalidated(Ino{5});
  attr.mode = 0600;
  verify({{inode_, attr}});
  EXPECT_EQ(told(), "attr 5;");
}

TEST_F(Cache, WhatIsDroppedIsTold) {
  for (uint64_t ino = 10; ino < 16; ino++) cache_.fetched(Key::inode(Ino{ino}), of_length(ino), cache_.now());
  EXPECT_EQ(told(), "attr 10;attr 11;");
  EXPECT_TRUE(cache_.find(Key::inode(Ino{12})));
  cache_.fetched(inode_, of_length(1), cache_.now());
  EXPECT_EQ(told(), "attr 13;");
}

TEST_F(Cache, NothingIsGivenOutWhileNobodyTells) {
  cache_.fetched(inode_, of_length(1), cache_.now());
  cache_.set_live(false);
  EXPECT_EQ(told(), "data 5;");
  cache_.fetched(inode_, of_length(2), cache_.now());
  EXPECT_EQ(length(), std::nullopt);
  cache_.set_live(true);
  EXPECT_EQ(length(), std::nullopt);
  verify({{inode_, of_length(3)}});
  EXPECT_EQ(length(), 3u);
  EXPECT_EQ(told(), "data 5;");
}

TEST_F(Cache, SwitchedOffItKeepsNothing) {
  cache_.switch_off();
  cache_.fetched(inode_, of_length(1), cache_.now());
  EXPECT_TRUE(cache_.take_doubtful().empty());
  EXPECT_EQ(told(), "");
}

TEST(CacheExpiry, OldRecordsAreNotGivenOut) {
  CoherentCache cache(4, 0);
  cache.set_live(true);
  cache.fetched(Key::inode(Ino{5}), of_length(1), cache.now());
  EXPECT_FALSE(cache.find(Key::inode(Ino{5})));
}

}  // namespace
}  // namespace zest::meta::redis
