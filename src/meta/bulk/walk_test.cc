#include "meta/bulk/walk.h"

#include <gtest/gtest.h>

#include <mutex>
#include <set>

namespace zest::meta {
namespace {

class WalkTest : public testing::Test {
 protected:
  void SetUp() override {
    auto engine =
        open_engine(std::string("memkv://walk-") + testing::UnitTest::GetInstance()->current_test_info()->name(), {});
    ASSERT_TRUE(engine);
    engine_ = std::move(*engine);
  }
  void put(const std::vector<std::tuple<Ino, std::string, Entry>>& entries) {
    for (size_t from = 0; from < entries.size(); from += 1000) {
      auto done = run(*engine_, system_clock(), {}, [&](Txn& txn) -> Result<void> {
        for (size_t i = from; i < std::min(entries.size(), from + 1000); i++) {
          const auto& [dir, name, entry] = entries[i];
          txn.put(Key::entry(dir, name), entry);
        }
        return {};
      });
      ASSERT_TRUE(done);
    }
  }
  // `width` directories of `files` files each, below 1.
  void make_bush(uint64_t width, uint64_t files) {
    std::vector<std::tuple<Ino, std::string, Entry>> entries;
    for (uint64_t d = 0; d < width; d++) {
      const Ino dir{1000 + d};
      entries.emplace_back(Ino{1}, "d" + std::to_string(d), Entry{FileType::kDirectory, dir});
      for (uint64_t f = 0; f < files; f++)
        entries.emplace_back(dir, "f" + std::to_string(f), Entry{FileType::kFile, Ino{1'000'000 + d * files + f}});
    }
    put(entries);
  }
  Result<void> walk_from_top(const WalkOptions& options, Visitor& visitor) {
    return walk(*engine_, options, std::make_shared<WalkDir>(nullptr, Ino{1}, ""), visitor);
  }
  std::unique_ptr<Engine> engine_;
};

class Recorder : public Visitor {
 public:
  Result<void> page(const WalkDirPtr& dir, std::vector<DirEntry>& entries, std::vector<WalkDirPtr>& descend) override {
    std::lock_guard lock(mutex);
    pages++;
    for (auto& entry : entries) {
      seen.insert(entry.entry.ino);
      if (entry.entry.type == FileType::kDirectory)
        descend.push_back(std::make_shared<WalkDir>(dir, entry.entry.ino, entry.name));
    }
    return {};
  }
  Result<bool> leave(const WalkDirPtr& dir) override {
    std::lock_guard lock(mutex);
    left.push_back(dir->ino);
    deepest = std::max(deepest, dir->depth);
    if (dir->depth == 1) paths.insert(dir->path());
    return false;
  }
  std::mutex mutex;
  std::multiset<Ino> seen;
  std::vector<Ino> left;
  std::set<std::string> paths;
  int pages = 0, deepest = 0;
};

TEST_F(WalkTest, each_entry_once_with_any_number_of_threads_and_small_pages) {
  make_bush(40, 50);
  for (int threads : {1, 2, 8}) {
    Recorder recorder;
    WalkOptions options;
    options.threads = threads;
    options.page = 7;
    ASSERT_TRUE(walk_from_top(options, recorder));
    EXPECT_EQ(40u * 51, recorder.seen.size());
    EXPECT_EQ(40u * 51, std::set<Ino>(recorder.seen.begin(), recorder.seen.end()).size());
    EXPECT_LT(40 * 7, recorder.pages);
    ASSERT_EQ(41u, recorder.left.size());
    EXPECT_EQ(Ino{1}, recorder.left.back()) << "the top is left last";
    EXPECT_EQ(40u, recorder.paths.size());
    EXPECT_TRUE(recorder.paths.contains("d39"));
  }
}

TEST_F(WalkTest, deep_trees_do_not_overflow_the_stack) {
  constexpr uint64_t kDepth = 20'000;
  std::vector<std::tuple<Ino, std::string, Entry>> entries;
  for (uint64_t i = 1; i <= kDepth; i++) entries.emplace_back(Ino{i}, "d", Entry{FileType::kDirectory, Ino{i + 1}});
  put(entries);
  Recorder recorder;
  ASSERT_TRUE(walk_from_top({}, recorder));
  EXPECT_EQ(static_cast<int>(kDepth), recorder.deepest);
  EXPECT_EQ(kDepth + 1, recorder.left.size());
  EXPECT_EQ(Ino{kDepth + 1}, recorder.left.front());

  // Given up at the bottom, where all the parents are still held.
  class Stopper : public Recorder {
   public:
    Result<bool> enter(WalkDir& dir) override {
      if (dir.depth == static_cast<int>(kDepth)) return fail(EIO);
      return true;
    }
  } stopper;
  EXPECT_EQ(EIO, code_of(walk_from_top({}, stopper)));
}

TEST_F(WalkTest, an_error_ends_it) {
  make_bush(40, 50);
  class Failing : public Recorder {
   public:
    Result<void> page(const WalkDirPtr& dir, std::vector<DirEntry>& entries,
                      std::vector<WalkDirPtr>& descend) override {
      if (dir->depth == 1 && ++count == 5) return fail(EACCES);
      return Recorder::page(dir, entries, descend);
    }
    std::atomic<int> count{0};
  };
  for (int threads : {1, 8}) {
    Failing failing;
    WalkOptions options;
    options.threads = threads;
    EXPECT_EQ(EACCES, code_of(walk_from_top(options, failing)));
    EXPECT_GT(41u, failing.left.size());
  }
}

TEST_F(WalkTest, cancelled_or_over_its_limits) {
  make_bush(3, 3);
  Recorder recorder;
  const std::atomic<bool> stop{true};
  WalkOptions options;
  options.cancelled = &stop;
  EXPECT_EQ(EINTR, code_of(walk_from_top(options, recorder)));
  options.cancelled = nullptr;
  const Limits limits(system_clock(), 60'000, &stop);
  options.limits = &limits;
  EXPECT_EQ(ETIMEDOUT, code_of(walk_from_top(options, recorder)));
  EXPECT_EQ(0, recorder.pages);
}

TEST_F(WalkTest, a_directory_may_be_walked_again) {
  make_bush(2, 2);
  class Twice : public Recorder {
   public:
    Result<bool> leave(const WalkDirPtr& dir) override {
      auto left_before = Recorder::leave(dir);
      return dir->ino == Ino{1000} && ++again == 1;
    }
    int again = 0;
  } twice;
  ASSERT_TRUE(walk_from_top({}, twice));
  EXPECT_EQ(2u + 2 + 2 + 2, twice.seen.size());
  EXPECT_EQ(4u, twice.left.size());
}

TEST_F(WalkTest, directories_that_need_no_listing_are_left_all_the_same) {
  make_bush(5, 5);
  class Top : public Recorder {
   public:
    Result<bool> enter(WalkDir& dir) override { return dir.depth == 0; }
  } top;
  ASSERT_TRUE(walk_from_top({}, top));
  EXPECT_EQ(5u, top.seen.size());
  EXPECT_EQ(6u, top.left.size());
}

}  // namespace
}  // namespace zest::meta
