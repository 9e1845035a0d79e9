// Operations of one client that meet on one directory: they build on one another and go to the server together, instead
// of losing races against each other.
#include <atomic>
#include <set>
#include <thread>

#include "redis_clients.h"

namespace zest::meta {
namespace {

constexpr int kThreads = 8, kEach = 100;

class RedisGroups : public RedisClients {
 protected:
  void SetUp() override {
    RedisClients::SetUp();
    auto dir = meta_->mkdir(root_, kRootIno, "dir", 0755, 0);
    ASSERT_TRUE(dir);
    dir_ = dir->ino;
  }
  void in_threads(const std::function<void(int)>& work) {
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; t++) threads.emplace_back([&work, t] { work(t); });
    for (auto& thread : threads) thread.join();
  }
  uint64_t restarts() {
    meta::CallStats::Counts counts;
    meta_->engine().stats.sum(counts);
    uint64_t sum = 0;
    for (const auto& call : counts.calls) sum += call.restarts;
    return sum;
  }
  std::string name(int thread, int i) const { return std::to_string(thread) + "-" + std::to_string(i); }

  Ino dir_{0};
};

TEST_F(RedisGroups, CreationsInOneDirectoryDoNotConflict) {
  const uint64_t before = restarts();
  const uint64_t used = trips([&] {
    in_threads([&](int t) {
      for (int i = 0; i < kEach; i++) {
        (void)meta_->lookup(root_, dir_, name(t, i));
        create(*meta_, dir_, name(t, i));
      }
    });
  });
  EXPECT_EQ(restarts(), before);
  EXPECT_LE(used, 2u * kThreads * kEach);
  auto listed = meta_->readdir(root_, dir_, true);
  ASSERT_TRUE(listed);
  EXPECT_EQ(listed->size(), static_cast<size_t>(kThreads * kEach));
  auto attr = meta_->getattr(root_, kRootIno);
  ASSERT_TRUE(attr);
}

// Nobody looked for the names: that they are new is assumed, and some of the commits went together.
TEST_F(RedisGroups, CreationsWithoutALookUpAreOneRoundTripAtMost) {
  const uint64_t before = restarts();
  const uint64_t used = trips([&] {
    in_threads([&](int t) {
      for (int i = 0; i < kEach; i++) EXPECT_TRUE(meta_->mkdir(root_, dir_, name(t, i), 0755, 0));
    });
  });
  EXPECT_EQ(restarts(), before);
  EXPECT_LT(used, 1u * kThreads * kEach);
  auto attr = meta_->getattr(root_, dir_);
  ASSERT_TRUE(attr);
  EXPECT_EQ(attr->nlink, 2u + kThreads * kEach);
}

// Each has to be read first; its commit builds on those that were queued meanwhile.
TEST_F(RedisGroups, RemovalsOfWhatOthersMadeDoNotConflict) {
  auto other = join();
  for (int t = 0; t < kThreads; t++)
    for (int i = 0; i < kEach; i++) ASSERT_TRUE(other->mkdir(root_, dir_, name(t, i), 0755, 0));
  const uint64_t before = restarts();
  const uint64_t used = trips([&] {
    in_threads([&](int t) {
      for (int i = 0; i < kEach; i++) EXPECT_TRUE(meta_->rmdir(root_, dir_, name(t, i)));
    });
  });
  EXPECT_EQ(restarts(), before);
  EXPECT_LT(used, 2u * kThreads * kEach);
  auto attr = other->getattr(root_, dir_);
  ASSERT_TRUE(attr);
  EXPECT_EQ(attr->nlink, 2u);
  EXPECT_TRUE(other->close_session());
}

// A name that is there already is found out by the commit, and concerns nobody else.
TEST_F(RedisGroups, ARefusedCreationCostsTwoRoundTrips) {
  auto other = join();
  create(*other, dir_, "there");
  create(*meta_, dir_, "mine");
  EXPECT_LE(trips([&] { EXPECT_EQ(code_of(meta_->mkdir(root_, dir_, "there", 0755, 0)), EEXIST); }), 2u);
  EXPECT_TRUE(other->close_session());
}

TEST_F(RedisGroups, DirectoriesKeepTheirLinkCount) {
  in_threads([&](int t) {
    for (int i = 0; i < kEach; i++) {
      (void)meta_->lookup(root_, dir_, name(t, i));
      EXPECT_TRUE(meta_->mkdir(root_, dir_, name(t, i), 0755, 0));
      if (i % 2) {
        EXPECT_TRUE(meta_->rmdir(root_, dir_, name(t, i)));
      }
    }
  });
  auto attr = meta_->getattr(root_, dir_);
  ASSERT_TRUE(attr);
  EXPECT_EQ(attr->nlink, 2u + kThreads * kEach / 2);
}

// Of the same name one thread wins each time; each operation succeeds or fails on its own.
TEST_F(RedisGroups, OneOfEachNameIsMade) {
  std::atomic<int> made = 0, refused = 0;
  in_threads([&](int) {
    for (int i = 0; i < kEach; i++) {
      (void)meta_->lookup(root_, dir_, name(0, i));
      auto done = meta_->mknod(root_, dir_, name(0, i), FileType::kFile, 0644, 0, 0);
      if (done)
        made++;
      else if (done.error().code == EEXIST)
        refused++;
    }
  });
  EXPECT_EQ(made, kEach);
  EXPECT_EQ(refused, (kThreads - 1) * kEach);
}

TEST_F(RedisGroups, AnotherClientInBetweenLosesNothing) {
  auto other = join();
  std::atomic<bool> done = false;
  std::thread elsewhere([&] {
    for (int i = 0; !done; i++) {
      EXPECT_TRUE(other->mkdir(root_, dir_, "other-" + std::to_string(i), 0755, 0));
      EXPECT_TRUE(other->rmdir(root_, dir_, "other-" + std::to_string(i)));
    }
  });
  in_threads([&](int t) {
    for (int i = 0; i < kEach / 4; i++) {
      (void)meta_->lookup(root_, dir_, name(t, i));
      EXPECT_TRUE(meta_->mkdir(root_, dir_, name(t, i), 0755, 0));
    }
  });
  done = true;
  elsewhere.join();
  auto attr = other->getattr(root_, dir_);
  ASSERT_TRUE(attr);
  EXPECT_EQ(attr->nlink, 2u + kThreads * (kEach / 4));
  EXPECT_TRUE(other->close_session());
}

TEST_F(RedisGroups, WritesToOneFileAreAllThere) {
  Ino file = create(*meta_, dir_, "file");
  in_threads([&](int t) {
    for (int i = 0; i < kEach; i++) write(*meta_, file, static_cast<uint32_t>(i * kThreads + t) * 4096);
  });
  auto attr = meta_->getattr(root_, file);
  ASSERT_TRUE(attr);
  EXPECT_EQ(attr->length, uint64_t{kThreads} * kEach * 4096);
  auto view = meta_->read_chunk(file, 0);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->records, size_t{kThreads} * kEach);
}

}  // namespace
}  // namespace zest::meta
