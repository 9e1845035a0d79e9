// How often an operation goes to the database: the budgets of meta/api.h, with warm caches.
#include <gtest/gtest.h>

#include <atomic>

#include "files_fixture.h"

namespace zest::meta {
namespace {

struct Trips {
  std::atomic<int> fetches{0}, commits{0}, others{0};
  int sum() const { return fetches + commits + others; }
  void reset() { fetches = commits = others = 0; }
};

class CountingTxn : public EngineTxn {
 public:
  CountingTxn(std::unique_ptr<EngineTxn> inner, Trips& trips) : inner_(std::move(inner)), trips_(trips) {}
  Result<std::vector<Value>> fetch(std::span<const Want> wants, std::vector<std::pair<Key, Value>>& followed) override {
    trips_.fetches++;
    return inner_->fetch(wants, followed);
  }
  Result<CommitResult> commit(std::span<const Change> changes) override {
    trips_.commits++;
    return inner_->commit(changes);
  }

 private:
  std::unique_ptr<EngineTxn> inner_;
  Trips& trips_;
};

class CountingEngine : public Engine {
 public:
  CountingEngine(std::unique_ptr<Engine> inner, Trips& trips) : inner_(std::move(inner)), trips_(trips) {}
  const EngineInfo& info() const override { return inner_->info(); }
  Result<std::unique_ptr<EngineTxn>> begin(bool write, std::span<const Ino> hot) override {
    ZEST_ASSIGN(auto txn, inner_->begin(write, hot));
    return std::make_unique<CountingTxn>(std::move(txn), trips_);
  }
  Result<std::vector<DirEntry>> list(Ino dir, std::string& cursor, size_t limit, bool with_attr) override {
    trips_.others++;
    return inner_->list(dir, cursor, limit, with_attr);
  }
  Result<void> scan(Table table, uint64_t within, const std::function<bool(const Key&, const Value&)>& each) override {
    trips_.others++;
    return inner_->scan(table, within, each);
  }
  Result<int64_t> add_counter(std::string_view name, int64_t delta) override {
    trips_.others++;
    return inner_->add_counter(name, delta);
  }
  Result<void> prepare() override { return inner_->prepare(); }
  Result<void> reset() override { return inner_->reset(); }
  int64_t absent_ref() const override { return inner_->absent_ref(); }
  Result<void> ping() override { return inner_->ping(); }
  Result<void> sync() override { return inner_->sync(); }

 private:
  std::unique_ptr<Engine> inner_;
  Trips& trips_;
};

class RoundTrips : public ::testing::Test {
 protected:
  void SetUp() override {
    auto inner = open_engine("memkv://round-trips-" + std::to_string(number_++), {});
    ASSERT_OK(inner);
    Options options;
    options.heartbeat_ms = 0;
    options.skip_dir_mtime_ms = 0;
    meta_ =
        std::make_unique<Meta>(std::make_unique<CountingEngine>(std::move(*inner), trips_), system_clock(), options);
    Format format;
    format.name = "round-trips";
    format.uuid = "ab6ad14a-aa63-4580-95ac-d1237fa3fa4d";
    format.bucket = "/nowhere/";
    format.trash_days = 1;
    ASSERT_OK(meta_->format(format, false));
    ASSERT_OK(meta_->load());
    // Warm: ids, the trash of the hour.
    dir_ = meta_->mkdir(root_, kRootIno, "dir", 0755, 0)->ino;
    other_ = meta_->mkdir(root_, kRootIno, "other", 0755, 0)->ino;
    ASSERT_OK(meta_->mknod(root_, dir_, "gone", FileType::kFile, 0644, 0, 0));
    ASSERT_OK(meta_->unlink(root_, dir_, "gone"));
    ASSERT_OK(meta_->new_slice_id());
  }
  Ino file(const char* name) {
    auto made = meta_->mknod(root_, dir_, name, FileType::kFile, 0644, 0, 0);
    EXPECT_OK(made);
    return made ? made->ino : Ino{0};
  }
  template <class Call>
  int trips(Call call) {
    trips_.reset();
    EXPECT_OK(call());
    return trips_.sum();
  }

  static inline std::atomic<int> number_{0};
  Trips trips_;
  std::unique_ptr<Meta> meta_;
  Ino dir_{0}, other_{0};
  const Context root_;
};

TEST_F(RoundTrips, names) {
  EXPECT_LE(trips([&] { return meta_->create(root_, dir_, "a", 0644, 0, true, O_RDWR); }), 2);
  EXPECT_LE(trips([&] { return meta_->mkdir(root_, dir_, "d", 0755, 0); }), 2);
  EXPECT_LE(trips([&] { return meta_->symlink(root_, dir_, "s", "target"); }), 2);
  EXPECT_LE(trips([&] { return meta_->lookup(root_, dir_, "a"); }), 1);
  EXPECT_LE(trips([&] { return meta_->getattr(root_, dir_); }), 1);
  EXPECT_LE(trips([&] { return meta_->rename(root_, dir_, "a", dir_, "b", 0); }), 2);
  EXPECT_LE(trips([&] { return meta_->rename(root_, dir_, "b", other_, "c", 0); }), 2);
  EXPECT_LE(trips([&] { return meta_->link(root_, meta_->lookup(root_, other_, "c")->ino, dir_, "l"); }), 3);
  EXPECT_LE(trips([&] { return meta_->unlink(root_, dir_, "s"); }), 2);
  EXPECT_LE(trips([&] { return meta_->rmdir(root_, dir_, "d"); }), 2);
}

TEST_F(RoundTrips, files) {
  Ino f = file("f"), g = file("g");
  EXPECT_LE(trips([&] { return meta_->open(root_, f, O_RDWR); }), 1);
  EXPECT_EQ(trips([&] { return meta_->new_slice_id(); }), 0);
  std::vector<Meta::ChunkWrite> writes{{0, Slice{0, SliceId{2}, 4096, 0, 4096}, {}},
                                       {1, Slice{0, SliceId{3}, 4096, 0, 4096}, {}}};
  EXPECT_LE(trips([&] { return meta_->write(f, writes); }), 2);
  EXPECT_LE(trips([&] { return meta_->read_chunk(f, 0); }), 1);
  EXPECT_EQ(trips([&] { return meta_->read_chunk(f, 0); }), 0);  // it is open
  EXPECT_LE(trips([&] { return meta_->truncate(root_, f, 10, true); }), 2);
  EXPECT_LE(trips([&] { return meta_->fallocate(root_, f, 0, 0, 10000); }), 2);
  EXPECT_LE(trips([&] { return meta_->copy_file_range(root_, f, 0, g, 0, 10000); }), 2);
  EXPECT_EQ(trips([&] { return meta_->close(f); }), 0);
}

TEST_F(RoundTrips, the_rest) {
  Ino f = file("f");
  Attr attr;
  attr.mode = 0600;
  EXPECT_LE(trips([&] { return meta_->setattr(root_, f, kSetMode, attr); }), 2);
  EXPECT_LE(trips([&] { return meta_->setxattr(root_, f, "user.a", "1", 0); }), 2);
  EXPECT_LE(trips([&] { return meta_->getxattr(root_, f, "user.a"); }), 1);
  EXPECT_LE(trips([&] { return meta_->listxattr(root_, f); }), 1);
  EXPECT_LE(trips([&] { return meta_->removexattr(root_, f, "user.a"); }), 2);
  EXPECT_LE(trips([&] { return meta_->flock(root_, f, 1, LockType::kWrite, false); }), 2);
  EXPECT_LE(trips([&] { return meta_->flock(root_, f, 1, LockType::kUnlock, false); }), 2);
  EXPECT_LE(trips([&] { return meta_->setlk(root_, f, 1, PosixLock{LockType::kWrite, 1, 0, 9}, false); }), 2);
  EXPECT_LE(trips([&] { return meta_->getlk(root_, f, 2, PosixLock{LockType::kWrite, 1, 0, 9}); }), 1);
  EXPECT_LE(trips([&] { return meta_->statfs(root_, f); }), 1);
}

}  // namespace
}  // namespace zest::meta
