// The round trips of operations on names on a warm client, as src/meta/api.h promises them.
#include "counting.h"
#include "fixture.h"

namespace zest::conformance {
namespace {

class RoundTripsOfNames : public Conformance {
 protected:
  void choose(Format& format) override { format.trash_days = 1; }
  void SetUp() override {
    Conformance::SetUp();
    if (!meta_) return;
    auto engine = meta::open_engine(database_->url(), {});
    ASSERT_TRUE(engine);
    meta::Options options;
    options.no_background_jobs = true;
    counted_ = std::make_unique<Meta>(counted(std::move(*engine), count_), clock_, options);
    counted_->set_data_hooks(&data_);
    ASSERT_OK(counted_->load());
    ASSERT_OK(counted_->start_session({}));
    // Ids, the trash's hour and the parents are known from here on.
    ASSERT_OK(counted_->mkdir(root_, kRootIno, "warm", 0755, 0));
    ASSERT_OK(counted_->rmdir(root_, kRootIno, "warm"));
  }
  void TearDown() override {
    if (counted_) {
      EXPECT_OK(counted_->close_session());
    }
    counted_.reset();
    Conformance::TearDown();
  }
  template <class Call>
  auto costs(int trips, const char* what, Call call) {
    count_.clear();
    auto result = call();
    EXPECT_TRUE(result) << what << ": " << result.error().message();
    EXPECT_LE(count_.total(), trips) << what << ": " << count_.text();
    return result;
  }

  RoundTrips count_;
  std::unique_ptr<Meta> counted_;
};
ON_EVERY_ENGINE(RoundTripsOfNames);

#define COSTS(trips, call) costs(trips, #call, [&] { return counted_->call; })

TEST_P(RoundTripsOfNames, many_files_go_at_once) {
  auto made = counted_->mkdir(root_, kRootIno, "many", 0755, 0);
  ASSERT_OK(made);
  const Ino dir = made->ino;
  std::vector<std::string> names;
  for (int i = 0; i < 100; i++) {
    names.push_back("f" + std::to_string(i));
    ASSERT_OK(counted_->mknod(root_, dir, names.back(), FileType::kFile, 0644, 0, 0));
  }
  auto removed = COSTS(2, unlink_files(root_, dir, names, false));
  for (const auto& one : *removed) EXPECT_OK(one);
  EXPECT_OK(counted_->rmdir(root_, kRootIno, "many"));
}

TEST_P(RoundTripsOfNames, a_hundred_entries_are_cloned_at_once) {
  auto made = counted_->mkdir(root_, kRootIno, "many", 0755, 0);
  ASSERT_OK(made);
  for (int i = 0; i < 400; i++)
    ASSERT_OK(counted_->mknod(root_, made->ino, "f" + std::to_string(i), FileType::kFile, 0644, 0, 0));
  // Of these, 8 are the batches'; one by one they would be 800.
  (void)COSTS(30, clone(root_, made->ino, kRootIno, "copy", true, 0, 1, nullptr, nullptr));
  for (const char* name : {"many", "copy"}) EXPECT_OK(counted_->remove_tree(root_, kRootIno, name, true, 1, nullptr));
}

TEST_P(RoundTripsOfNames, keep_to_the_budget) {
  auto dir = COSTS(2, mkdir(root_, kRootIno, "d", 0755, 0));
  auto other = COSTS(2, mkdir(root_, kRootIno, "other", 0755, 0));
  auto file = COSTS(2, create(root_, dir->ino, "f", 0644, 0, true, 2));
  (void)COSTS(0, close(file->entry.ino));
  (void)COSTS(1, lookup(root_, dir->ino, "f"));
  (void)COSTS(1, lookup(user(1000), dir->ino, "f"));
  (void)COSTS(1, getattr(root_, file->entry.ino));
  (void)COSTS(2, setattr(root_, file->entry.ino, meta::kSetMode, Attr{.mode = 0600}));
  auto link = COSTS(2, symlink(root_, dir->ino, "l", "target"));
  (void)COSTS(1, readlink(root_, link->ino));
  (void)COSTS(0, readlink(root_, link->ino));
  (void)COSTS(2, link(root_, file->entry.ino, other->ino, "g"));
  (void)COSTS(2, rename(root_, dir->ino, "f", other->ino, "h", 0));
  (void)COSTS(2, rename(root_, other->ino, "g", other->ino, "h", 0));
  (void)COSTS(2, rename(root_, other->ino, "g", dir->ino, "g", 0));
  (void)COSTS(2, rename(root_, other->ino, "h", dir->ino, "h", 0));
  (void)COSTS(
      3, rename(root_, dir->ino, "l", dir->ino, "h", 0));  // one link of two goes to the trash: its name is looked up
  (void)COSTS(3, rename(root_, kRootIno, "other", dir->ino, "other", 0));  // the directories above are read
  (void)COSTS(2, rmdir(root_, dir->ino, "other"));
  (void)COSTS(2, rename(root_, dir->ino, "h", dir->ino, "i", meta::kRenameWhiteout));
  (void)COSTS(2, unlink(root_, dir->ino, "h"));
  (void)COSTS(2, rename(root_, dir->ino, "i", dir->ino, "h", 0));
  (void)COSTS(2, unlink(root_, dir->ino, "h"));
  (void)COSTS(2, readdir(root_, dir->ino, true));
}

}  // namespace
}  // namespace zest::conformance
