// BSD and POSIX locks between clients (semantics.md section 9).
#include <thread>

#include "files_fixture.h"

namespace zest::meta {
namespace {

constexpr LockType R = LockType::kRead, W = LockType::kWrite, U = LockType::kUnlock;

class FileLocks : public FilesTest {};
FILES_ON_EVERY_ENGINE(FileLocks);

TEST_P(FileLocks, flock_table) {
  auto& c = client();
  auto other = connect();
  Ino f = c.file("f");
  ASSERT_OK(c->flock(root_, f, 1, R, false));
  EXPECT_OK((*other)->flock(root_, f, 1, R, false));  // the same owner number of another session is another owner
  EXPECT_ERR(c->flock(root_, f, 1, W, false), EAGAIN);
  EXPECT_OK((*other)->flock(root_, f, 1, U, false));
  EXPECT_OK(c->flock(root_, f, 1, W, false));  // upgraded in place
  EXPECT_ERR((*other)->flock(root_, f, 1, R, false), EAGAIN);
  EXPECT_ERR(c->flock(root_, f, 2, W, false), EAGAIN);
  EXPECT_OK(c->flock(root_, f, 1, R, false));
  EXPECT_OK((*other)->flock(root_, f, 1, R, false));
  EXPECT_OK(c->flock(root_, f, 1, U, false));
  EXPECT_OK((*other)->flock(root_, f, 1, U, false));
  EXPECT_FALSE(c.exists(Key::flocks(f)));
  EXPECT_OK(c->flock(root_, f, 1, U, false));  // nothing held
  EXPECT_ERR(c->flock(root_, f, 1, static_cast<LockType>(7), false), EINVAL);
  int missing = c.state().engine->absent_ref() == 0 ? ENOENT : 0;
  EXPECT_ERR(c->flock(root_, Ino{999}, 1, R, false), missing);
}

TEST_P(FileLocks, posix_ranges_split_and_merge) {
  auto& c = client();
  Ino f = c.file("f");
  auto held = [&]() -> std::vector<PosixLock> {
    PlockMap all;
    EXPECT_OK(c.state().read([&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(all, txn.plocks(f));
      return {};
    }));
    return all.empty() ? std::vector<PosixLock>{} : all.begin()->second;
  };
  ASSERT_OK(c->setlk(root_, f, 1, {W, 10, 0, 99}, false));
  ASSERT_OK(c->setlk(root_, f, 1, {R, 10, 20, 29}, false));
  EXPECT_EQ(held(), (std::vector<PosixLock>{{W, 10, 0, 19}, {R, 10, 20, 29}, {W, 10, 30, 99}}));
  ASSERT_OK(c->setlk(root_, f, 1, {W, 10, 20, 29}, false));
  EXPECT_EQ(held(), (std::vector<PosixLock>{{W, 10, 0, 99}}));
  ASSERT_OK(c->setlk(root_, f, 1, {U, 10, 50, 59}, false));
  EXPECT_EQ(held(), (std::vector<PosixLock>{{W, 10, 0, 49}, {W, 10, 60, 99}}));
  ASSERT_OK(c->setlk(root_, f, 1, {U, 10, 0, kLockEnd}, false));
  EXPECT_FALSE(c.exists(Key::plocks(f)));
}

TEST_P(FileLocks, posix_conflicts) {
  auto& c = client();
  auto other = connect();
  Ino f = c.file("f");
  ASSERT_OK(c->setlk(root_, f, 1, {R, 10, 0, 99}, false));
  EXPECT_OK((*other)->setlk(root_, f, 1, {R, 20, 50, 149}, false));
  EXPECT_ERR((*other)->setlk(root_, f, 1, {W, 20, 99, 100}, false), EAGAIN);
  EXPECT_OK((*other)->setlk(root_, f, 1, {W, 20, 100, 149}, false));
  EXPECT_ERR(c->setlk(root_, f, 1, {R, 10, 149, 200}, false), EAGAIN);
  EXPECT_ERR(c->setlk(root_, f, 2, {W, 10, 0, 0}, false), EAGAIN);
  EXPECT_ERR(c->setlk(root_, f, 1, {static_cast<LockType>(9), 10, 0, 0}, false), EINVAL);
  EXPECT_ERR(c->setlk(root_, f, 1, {R, 10, 5, 4}, false), EINVAL);

  auto mine = c->getlk(root_, f, 2, {W, 10, 0, 10});
  ASSERT_OK(mine);
  EXPECT_EQ(*mine, (PosixLock{R, 10, 0, 99}));
  auto theirs = (*other)->getlk(root_, f, 2, {W, 20, 0, 10});
  ASSERT_OK(theirs);
  EXPECT_EQ(*theirs, (PosixLock{R, 0, 0, 99}));  // a process of another client
  auto own = c->getlk(root_, f, 1, {W, 10, 0, 49});
  ASSERT_OK(own);
  EXPECT_EQ(*own, (PosixLock{U, 0, 0, 0}));
  auto held = c->getlk(root_, f, 1, {U, 10, 40, 49});  // asks for one's own
  ASSERT_OK(held);
  EXPECT_EQ(*held, (PosixLock{R, 10, 0, 99}));
  held = c->getlk(root_, f, 1, {U, 10, 100, 149});
  ASSERT_OK(held);
  EXPECT_EQ(*held, (PosixLock{U, 0, 0, 0}));
}

TEST_P(FileLocks, waiting_is_granted_when_released) {
  auto& c = client();
  auto other = connect();
  Ino f = c.file("f");
  for (Client* releaser : {&c, other.get()}) {
    ASSERT_OK((*releaser)->flock(root_, f, 100, W, false));
    ASSERT_OK((*releaser)->setlk(root_, f, 100, {W, 1, 0, 9}, false));
    std::atomic<int> done{0};
    std::thread waiter([&] {
      EXPECT_OK(c->flock(root_, f, 1, W, true));
      done = 1;
      EXPECT_OK(c->setlk(root_, f, 1, {R, 1, 5, 5}, true));
      done = 2;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(done, 0);
    EXPECT_OK((*releaser)->flock(root_, f, 100, U, false));
    EXPECT_OK((*releaser)->setlk(root_, f, 100, {U, 1, 0, kLockEnd}, false));
    waiter.join();
    EXPECT_EQ(done, 2);
    EXPECT_OK(c->flock(root_, f, 1, U, false));
    EXPECT_OK(c->setlk(root_, f, 1, {U, 1, 0, kLockEnd}, false));
  }
}

TEST_P(FileLocks, waiting_ends_when_cancelled) {
  auto& c = client();
  Ino f = c.file("f");
  ASSERT_OK(c->flock(root_, f, 100, W, false));
  ASSERT_OK(c->setlk(root_, f, 100, {W, 1, 0, 9}, false));
  std::atomic<bool> cancelled{false};
  Context ctx;
  ctx.cancelled = &cancelled;
  std::thread waiter([&] {
    EXPECT_ERR(c->flock(ctx, f, 1, R, true), EINTR);
    EXPECT_ERR(c->setlk(ctx, f, 1, {W, 1, 0, 0}, true), EINTR);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  cancelled = true;
  waiter.join();
  EXPECT_ERR(c->flock(root_, f, 1, R, false), EAGAIN);
}

TEST_P(FileLocks, a_closed_session_frees_its_locks) {
  auto& c = client();
  Ino f = c.file("f");
  {
    auto other = connect();
    ASSERT_OK((*other)->flock(root_, f, 1, R, false));
    ASSERT_OK((*other)->setlk(root_, f, 1, {W, 1, 0, 9}, false));
    EXPECT_ERR(c->flock(root_, f, 1, W, false), EAGAIN);
  }
  EXPECT_OK(c->flock(root_, f, 1, W, false));
  EXPECT_OK(c->setlk(root_, f, 1, {W, 1, 0, 9}, false));
}

}  // namespace
}  // namespace zest::meta
