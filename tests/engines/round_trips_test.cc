// What each operation costs on a database server behind a network, counted on the wire. Warm: connections are there,
// statements are prepared, scripts are loaded, ids are in hand.
#include <sys/stat.h>

#include <filesystem>

#include "clients.h"
#include "meta/engine/redis/test_server.h"
#include "proxy.h"
#include "servers.h"

namespace zest::meta {
namespace {

using testing_servers::MariadbServer;
using testing_servers::PostgresServer;
using testing_servers::Proxy;

redis::TestServer& redis_server() {
  static redis::TestServer server;
  return server;
}

class RoundTrips : public testing::TestWithParam<std::string>, public Clients {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/zest-trips-XXXXXX";
    folder_ = ::mkdtemp(pattern);
    ::chmod(folder_.c_str(), 0755);
    const std::string number = std::to_string(++number_), prefix = "table_prefix=trips" + number;
    std::string socket = folder_ + "/s";
    if (GetParam() == "redis") {
      proxy_ = std::make_unique<Proxy>(socket, redis_server().socket_path());
      url_ = "unix://" + socket + "?db=" + number;
    } else if (GetParam() == "postgres") {
      const std::string name = "/.s.PGSQL.5432";
      proxy_ = std::make_unique<Proxy>(folder_ + name, PostgresServer::shared().folder() + name);
      url_ = "postgres://postgres@/postgres?host=" + folder_ + "&" + prefix;
    } else {
      proxy_ = std::make_unique<Proxy>(socket, MariadbServer::shared().socket());
      url_ = "mysql://root@unix(" + socket + ")/zest?" + prefix;
    }
    meta_ = join(url_, true);
    dir_ = meta_->mkdir(root_, kRootIno, "dir", 0755, 0)->ino;
    for (const char* name : {"warm", "warmer"}) {  // each kind of statement once
      const Ino file = create(name);
      write(*meta_, file, 0);
      write(*meta_, file, 4096);
      close(file);
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
  Ino create(const std::string& name) { return Clients::create(*meta_, dir_, name); }
  void close(Ino ino) { EXPECT_TRUE(meta_->close(ino)); }
  template <class F>
  uint64_t trips(F&& call) {
    const uint64_t before = proxy_->trips();
    call();
    return proxy_->trips() - before;
  }
  template <class F>
  void costs(uint64_t budget, const char* what, F&& call) {
    EXPECT_LE(trips(call), budget) << what;
  }

  static inline int number_ = 0;
  std::string folder_, url_;
  std::unique_ptr<Proxy> proxy_;
  std::unique_ptr<Meta> meta_;
  const Context root_;
  Ino dir_{0};
};

#define COSTS(budget, call) costs(budget, #call, [&] { EXPECT_TRUE(meta_->call); })

// Nothing of what is touched is known from before but the directory.
TEST_P(RoundTrips, StayInBudget) {
  Ino file{0};
  costs(2, "create, close", [&] { close(create("a")); });
  costs(3, "create, write 4 KiB, close", [&] {
    file = create("b");
    write(*meta_, file, 0);
    close(file);
  });
  COSTS(1, getattr(root_, file));
  COSTS(1, lookup(root_, dir_, "b"));
  costs(1, "open, read 4 KiB, close", [&] {
    EXPECT_TRUE(meta_->open(root_, file, O_RDONLY));
    auto view = meta_->read_chunk(file, 0);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->pieces.size(), 1u);
    close(file);
  });
  COSTS(1, open(root_, file, O_RDWR));
  costs(1, "append, fsync", [&] { write(*meta_, file, 4096); });
  COSTS(0, close(file));
  COSTS(1, read_chunk(file, 0));
  COSTS(2, mkdir(root_, dir_, "d", 0755, 0));
  COSTS(2, rename(root_, dir_, "a", dir_, "c", 0));
  COSTS(2, rename(root_, dir_, "c", dir_, "warmer", 0));
  meta_->drain_deletes();
  COSTS(2, rmdir(root_, dir_, "d"));
  Attr values;
  values.mode = 0600;
  COSTS(1, setattr(root_, file, kSetMode, values));
  COSTS(2, truncate(root_, file, 100, true));
  COSTS(2, setxattr(root_, file, "user.a", "b", 0));
  COSTS(1, getxattr(root_, file, "user.a"));
  COSTS(2, link(root_, file, dir_, "hard"));
  COSTS(2, unlink(root_, dir_, "hard"));
}

// The kernel looks a name up before most calls: then the change itself is a single commit.
TEST_P(RoundTrips, AfterALookupTheChangeIsOneCommit) {
  auto looked_up = [&](const char* name) { (void)meta_->lookup(root_, dir_, name); };
  looked_up("a");
  costs(1, "create", [&] { close(create("a")); });
  looked_up("d");
  COSTS(1, mkdir(root_, dir_, "d", 0755, 0));
  COSTS(1, rmdir(root_, dir_, "d"));
  auto other = join(url_);
  ASSERT_TRUE(other->mknod(root_, dir_, "theirs", FileType::kFile, 0644, 0, 0));
  ASSERT_TRUE(meta_->getattr(root_, dir_));
  looked_up("theirs");
  looked_up("b");
  COSTS(1, rename(root_, dir_, "theirs", dir_, "b", 0));
  COSTS(1, unlink(root_, dir_, "b"));
  meta_->drain_deletes();
  EXPECT_TRUE(other->close_session());
}

// A directory that is to go is taken for empty; the commit finds out.
TEST_P(RoundTrips, ADirectoryThatIsNotEmptyStays) {
  auto other = join(url_);
  auto sub = meta_->mkdir(root_, dir_, "d", 0755, 0);
  ASSERT_TRUE(sub);
  ASSERT_TRUE(meta_->mkdir(root_, dir_, "e", 0755, 0));
  ASSERT_TRUE(other->mknod(root_, sub->ino, "theirs", FileType::kFile, 0644, 0, 0));
  EXPECT_EQ(code_of(meta_->rmdir(root_, dir_, "d")), ENOTEMPTY);
  EXPECT_EQ(code_of(meta_->rename(root_, dir_, "e", dir_, "d", 0)), ENOTEMPTY);
  EXPECT_TRUE(meta_->lookup(root_, sub->ino, "theirs"));
  ASSERT_TRUE(other->unlink(root_, sub->ino, "theirs"));
  EXPECT_TRUE(meta_->rename(root_, dir_, "e", dir_, "d", 0));
  EXPECT_TRUE(other->close_session());
}

// The kernel asks for a directory's attributes after each change in it.
TEST_P(RoundTrips, ADirectoryIsKnownForAMomentAfterAChangeOfOurOwn) {
  Options options;
  options.own_view_ms = 600'000;
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
  Clients::create(*meta, dir_, "f");
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

// The kernel asks for a file's attributes before it reads what was opened.
TEST_P(RoundTrips, AFileIsKnownForAMomentAfterItsOpening) {
  Options options;
  options.own_view_ms = 600'000;
  auto meta = join(url_, false, options);
  auto asks = [&](Ino ino) {
    Result<Attr> attr;
    const uint64_t used = trips([&] { attr = meta->getattr(root_, ino); });
    EXPECT_EQ(attr.value_or(Attr{}), *meta_->getattr(root_, ino));
    return used;
  };
  const Ino file = create("f");
  write(*meta_, file, 0);
  EXPECT_EQ(asks(file), 1u);
  ASSERT_TRUE(meta->open(root_, file, O_RDWR));
  EXPECT_EQ(asks(file), 0u);
  Attr values;
  values.mode = 0600;
  ASSERT_TRUE(meta->setattr(root_, file, kSetMode, values));
  EXPECT_EQ(asks(file), 1u) << "after a change";
  ASSERT_TRUE(meta->open(root_, file, O_RDONLY));
  EXPECT_EQ(asks(file), 0u);
  write(*meta, file, 4096);
  EXPECT_EQ(asks(file), 1u) << "after a write";
  // Another client's change is seen by what reads the file anew, and then by all.
  ASSERT_TRUE(meta->open(root_, file, O_RDONLY));
  values.mode = 0640;
  ASSERT_TRUE(meta_->setattr(root_, file, kSetMode, values));
  ASSERT_TRUE(meta->lookup(root_, dir_, "f"));
  EXPECT_LE(asks(file), 1u);
  for (int i = 0; i < 3; i++) EXPECT_TRUE(meta->close(file));
  close(file);
  EXPECT_TRUE(meta->close_session());
}

TEST_P(RoundTrips, WhatAnotherClientChangedCostsOneMore) {
  auto other = join(url_);
  (void)meta_->lookup(root_, dir_, "a");
  Attr values;
  values.mode = 0700;
  ASSERT_TRUE(other->setattr(root_, dir_, kSetMode, values));
  const Ino theirs = Clients::create(*other, dir_, "a");
  auto made = meta_->create(root_, dir_, "a", 0644, 0, true, O_RDWR);
  EXPECT_EQ(code_of(made), EEXIST);
  auto opened = meta_->create(root_, dir_, "a", 0644, 0, false, O_RDWR);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->entry.ino, theirs);
  ASSERT_TRUE(other->unlink(root_, dir_, "a"));
  EXPECT_EQ(code_of(meta_->unlink(root_, dir_, "a")), ENOENT);
  EXPECT_TRUE(other->close_session());
}

TEST_P(RoundTrips, ListingsComeInPages) {
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

INSTANTIATE_TEST_SUITE_P(, RoundTrips, testing::Values("redis", "postgres", "mysql"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace zest::meta
