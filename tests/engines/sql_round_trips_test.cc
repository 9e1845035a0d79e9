// What each operation costs on a database server behind a network, counted on the wire. Warm: connections are there,
// statements are prepared, ids are in hand.
#include <sys/stat.h>

#include <filesystem>

#include "clients.h"
#include "proxy.h"
#include "servers.h"

namespace zest::meta {
namespace {

using testing_servers::MariadbServer;
using testing_servers::PostgresServer;
using testing_servers::Proxy;

class SqlRoundTrips : public testing::TestWithParam<std::string>, public Clients {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/zest-trips-XXXXXX";
    folder_ = ::mkdtemp(pattern);
    ::chmod(folder_.c_str(), 0755);
    const std::string prefix = "table_prefix=trips" + std::to_string(++number_);
    if (GetParam() == "postgres") {
      const std::string socket = "/.s.PGSQL.5432";
      proxy_ = std::make_unique<Proxy>(folder_ + socket, PostgresServer::shared().folder() + socket);
      url_ = "postgres://postgres@/postgres?host=" + folder_ + "&" + prefix;
    } else {
      proxy_ = std::make_unique<Proxy>(folder_ + "/s", MariadbServer::shared().socket());
      url_ = "mysql://root@unix(" + folder_ + "/s)/zest?" + prefix;
    }
    meta_ = join(url_, true);
    dir_ = meta_->mkdir(root_, kRootIno, "dir", 0755, 0)->ino;
    for (const char* name : {"warm", "warmer"}) {  // each kind of statement once
      const Ino file = create(*meta_, dir_, name);
      write(*meta_, file, 0);
      write(*meta_, file, 4096);
      EXPECT_TRUE(meta_->close(file));
    }
    EXPECT_TRUE(meta_->rename(root_, dir_, "warm", dir_, "warmer", 0));
    meta_->drain_deletes();
  }
  void TearDown() override {
    EXPECT_TRUE(meta_->close_session());
    EXPECT_TRUE(meta_->engine().reset());
    meta_.reset();
    proxy_.reset();
    std::filesystem::remove_all(folder_);
  }
  template <class F>
  uint64_t trips(F&& call) {
    const uint64_t before = proxy_->trips();
    call();
    return proxy_->trips() - before;
  }

  static inline int number_ = 0;
  std::string folder_, url_;
  std::unique_ptr<Proxy> proxy_;
  std::unique_ptr<Meta> meta_;
  const Context root_;
  Ino dir_{0};
};

TEST_P(SqlRoundTrips, StayInBudget) {
  Ino file{0};
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->close(create(*meta_, dir_, "a"))); }), 2u) << "create, close";
  EXPECT_LE(trips([&] {
              file = create(*meta_, dir_, "b");
              write(*meta_, file, 0);
              EXPECT_TRUE(meta_->close(file));
            }),
            3u)
      << "create, write 4 KiB, close";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->getattr(root_, file)); }), 1u) << "stat";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->lookup(root_, dir_, "b")); }), 1u) << "lookup";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->open(root_, file, O_RDWR)); }), 1u) << "open";
  EXPECT_LE(trips([&] { write(*meta_, file, 4096); }), 1u) << "append, fsync";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->close(file)); }), 0u) << "close";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->read_chunk(file, 0)); }), 1u) << "read";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->mkdir(root_, dir_, "d", 0755, 0)); }), 2u) << "mkdir";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->rename(root_, dir_, "a", dir_, "c", 0)); }), 2u) << "rename";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->rename(root_, dir_, "c", dir_, "warmer", 0)); }), 2u)
      << "rename over a file";
  meta_->drain_deletes();
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->rmdir(root_, dir_, "d")); }), 2u) << "rmdir";
  Attr values;
  values.mode = 0600;
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->setattr(root_, file, kSetMode, values)); }), 1u) << "chmod";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->truncate(root_, file, 100, true)); }), 2u) << "truncate";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->setxattr(root_, file, "user.a", "b", 0)); }), 2u) << "setxattr";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->getxattr(root_, file, "user.a")); }), 1u) << "getxattr";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->link(root_, file, dir_, "hard")); }), 2u) << "link";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->unlink(root_, dir_, "hard")); }), 2u) << "unlink";
}

// The kernel looks a name up before most calls: then the change itself is a single commit.
TEST_P(SqlRoundTrips, AfterALookupTheChangeIsOneCommit) {
  auto looked_up = [&](const char* name) { (void)meta_->lookup(root_, dir_, name); };
  looked_up("a");
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->close(create(*meta_, dir_, "a"))); }), 1u) << "create";
  looked_up("d");
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->mkdir(root_, dir_, "d", 0755, 0)); }), 1u) << "mkdir";
  looked_up("b");
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->rename(root_, dir_, "a", dir_, "b", 0)); }), 1u) << "rename";
  EXPECT_LE(trips([&] { EXPECT_TRUE(meta_->unlink(root_, dir_, "b")); }), 1u) << "unlink";
  meta_->drain_deletes();
}

// The kernel asks for a directory's attributes after each change in it.
TEST_P(SqlRoundTrips, ADirectoryIsKnownForAMomentAfterAChangeOfOurOwn) {
  Options options;
  options.own_dirs_ms = 600'000;
  auto meta = join(url_, false, options);
  auto stored = [&](Ino ino) { return *meta_->getattr(root_, ino); };
  auto known = [&](Ino ino) {
    Result<Attr> attr;
    EXPECT_EQ(trips([&] { attr = meta->getattr(root_, ino); }), 0u);
    return attr.value_or(Attr{});
  };
  auto sub = meta->mkdir(root_, dir_, "sub", 0755, 0);
  ASSERT_TRUE(sub);
  EXPECT_EQ(known(dir_), stored(dir_));
  create(*meta, dir_, "f");
  EXPECT_EQ(known(dir_), stored(dir_));
  ASSERT_TRUE(meta->rename(root_, dir_, "f", sub->ino, "g", 0));
  EXPECT_EQ(known(dir_), stored(dir_));
  EXPECT_EQ(known(sub->ino), stored(sub->ino));
  ASSERT_TRUE(meta->unlink(root_, sub->ino, "g"));
  Attr values;
  values.mode = 0700;
  ASSERT_TRUE(meta->setattr(root_, sub->ino, kSetMode, values));
  EXPECT_EQ(known(sub->ino), stored(sub->ino));
  ASSERT_TRUE(meta->rmdir(root_, dir_, "sub"));
  EXPECT_EQ(known(dir_), stored(dir_));
  EXPECT_EQ(code_of(meta->getattr(root_, sub->ino)), ENOENT);
  EXPECT_EQ(trips([&] { EXPECT_TRUE(meta_->getattr(root_, dir_)); }), 1u) << "a client that does not want it";
  EXPECT_TRUE(meta->close_session());
}

TEST_P(SqlRoundTrips, WhatAnotherClientChangedCostsOneMore) {
  auto other = join(url_);
  (void)meta_->lookup(root_, dir_, "a");
  Attr values;
  values.mode = 0700;
  ASSERT_TRUE(other->setattr(root_, dir_, kSetMode, values));
  const Ino theirs = create(*other, dir_, "a");
  auto made = meta_->create(root_, dir_, "a", 0644, 0, true, O_RDWR);
  EXPECT_EQ(code_of(made), EEXIST);
  auto opened = meta_->create(root_, dir_, "a", 0644, 0, false, O_RDWR);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->entry.ino, theirs);
  ASSERT_TRUE(other->unlink(root_, dir_, "a"));
  EXPECT_EQ(code_of(meta_->unlink(root_, dir_, "a")), ENOENT);
  EXPECT_TRUE(other->close_session());
}

TEST_P(SqlRoundTrips, ListingsComeInPages) {
  constexpr size_t kFiles = 3000;
  for (size_t i = 0; i < kFiles; i++)
    ASSERT_TRUE(meta_->mknod(root_, dir_, "f" + std::to_string(i), FileType::kFile, 0644, 0, 0));
  size_t found = 0;
  const uint64_t used = trips([&] {
    auto stream = meta_->opendir(root_, dir_, true);
    ASSERT_TRUE(stream);
    for (;;) {
      auto page = (*stream)->next(4096);
      ASSERT_TRUE(page);
      if (page->empty()) break;
      found += page->size();
    }
  });
  EXPECT_EQ(found, kFiles + 1);  // and one of SetUp
  EXPECT_LE(used, 1 + kFiles / 1000);
}

INSTANTIATE_TEST_SUITE_P(, SqlRoundTrips, testing::Values("postgres", "mysql"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace zest::meta
