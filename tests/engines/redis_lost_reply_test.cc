// Commits whose answer is lost on the way: applied once, or known not to be.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <thread>

#include "meta/engine/redis/redis_engine.h"
#include "meta/engine/redis/test_server.h"

namespace zest::meta::redis {
namespace {

// Stands between client and server. When told to, drops a connection upon the next EVALSHA: before it reaches the
// server, or after the server carried it out and before its answer reaches the client.
class Proxy {
 public:
  enum Drop { kNothing, kRequest, kAnswer };

  explicit Proxy(const TestServer& server) : target_(server.socket_path()), path_(server.folder() + "/proxy") {
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address = address_of(path_);
    bool ok =
        bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 && listen(listener_, 16) == 0;
    EXPECT_TRUE(ok);
    thread_ = std::thread([this] { accept_all(); });
  }
  ~Proxy() {
    stop_ = true;
    thread_.join();
    for (auto& thread : pumps_) thread.join();
    close(listener_);
  }
  std::string url(int db) const { return "unix://" + path_ + "?db=" + std::to_string(db); }
  void drop_next(Drop what) { drop_ = what; }
  int dropped() const { return dropped_; }

 private:
  static sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    return address;
  }
  bool readable(int fd) {
    pollfd p{fd, POLLIN, 0};
    return poll(&p, 1, 20) > 0;
  }
  void accept_all() {
    while (!stop_) {
      if (!readable(listener_)) continue;
      int client = accept(listener_, nullptr, nullptr);
      int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_un address = address_of(target_);
      if (connect(server, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) stop_ = true;
      pumps_.emplace_back([this, client, server] { pump(client, server); });
    }
  }
  void pump(int client, int server) {
    char buffer[1 << 16];
    bool swallow = false, open = true;
    while (!stop_ && open) {
      pollfd fds[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
      if (poll(fds, 2, 20) <= 0) continue;
      if (fds[0].revents) {
        ssize_t n = ::read(client, buffer, sizeof(buffer));
        if (n <= 0) break;
        bool commit = std::string_view(buffer, static_cast<size_t>(n)).find("EVALSHA") != std::string_view::npos;
        if (Drop drop = drop_; commit && drop != kNothing) {
          drop_ = kNothing;
          dropped_++;
          if (drop == kRequest) break;
          swallow = true;
        }
        open = send(server, buffer, static_cast<size_t>(n), MSG_NOSIGNAL) == n;
      }
      if (fds[1].revents) {
        ssize_t n = ::read(server, buffer, sizeof(buffer));
        if (n <= 0 || swallow) break;
        open = send(client, buffer, static_cast<size_t>(n), MSG_NOSIGNAL) == n;
      }
    }
    close(client);
    close(server);
  }

  const std::string target_, path_;
  int listener_;
  std::atomic<bool> stop_ = false;
  std::atomic<Drop> drop_ = kNothing;
  std::atomic<int> dropped_ = 0;
  std::vector<std::thread> pumps_;
  std::thread thread_;
};

class LostReply : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = open_redis(proxy_.url(0), {});
    ASSERT_TRUE(opened) << opened.error().message();
    engine_ = std::move(*opened);
    direct_ = std::move(*open_redis(server_.url(0), {}));
    ASSERT_TRUE(run(*engine_, system_clock(), {}, [](Txn& txn) -> Result<void> {
      txn.put_attr(Ino{2}, Attr{});
      return {};
    }));
  }
  // Grows the file by one record in one transaction, the way a write does.
  Result<CommitResult> append_one(const std::function<void()>& between = {}) {
    auto txn = *engine_->begin(true, {});
    std::vector<std::pair<Key, Value>> followed;
    Want want{Key::inode(Ino{2})};
    ZEST_ASSIGN(auto values, txn->fetch(std::span(&want, 1), followed));
    Attr attr = std::get<Attr>(values[0]);
    attr.length++;
    attr.ctime.nsec++;
    std::vector<Change> changes{{Change::Op::kPut, Key::inode(Ino{2}), attr},
                                {Change::Op::kAppend, Key::chunk(Ino{2}, 0), std::string(24, 'a')}};
    Change down{Change::Op::kAdd, Key::slice_ref(SliceId{5}, 10), {}};
    down.delta = -1;
    changes.push_back(down);
    if (between) between();
    return txn->commit(changes);
  }
  std::pair<uint64_t, size_t> length_and_records() {
    std::pair<uint64_t, size_t> out;
    EXPECT_TRUE(meta::read(*direct_, system_clock(), [&](Txn& txn) -> Result<void> {
      ZEST_TRY(txn.want({{Key::inode(Ino{2})}, {Key::chunk(Ino{2}, 0)}}));
      ZEST_ASSIGN(auto attr, txn.attr(Ino{2}));
      ZEST_ASSIGN(auto chunk, txn.chunk(Ino{2}, 0));
      out = {attr->length, chunk.size() / 24};
      return {};
    }));
    return out;
  }
  using State = std::pair<uint64_t, size_t>;

  TestServer server_;
  Proxy proxy_{server_};
  std::unique_ptr<Engine> engine_, direct_;
};

TEST_F(LostReply, RequestThatNeverArrivedIsSentAgain) {
  proxy_.drop_next(Proxy::kRequest);
  auto done = append_one();
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(proxy_.dropped(), 1);
  EXPECT_EQ(length_and_records(), State(1, 1));
  ASSERT_EQ(done->refs.size(), 1u);
  EXPECT_EQ(done->refs[0].second, 0);
}

TEST_F(LostReply, CommitThatWasCarriedOutIsNotRepeated) {
  for (uint64_t n = 1; n <= 5; n++) {
    proxy_.drop_next(Proxy::kAnswer);
    auto done = append_one();
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(proxy_.dropped(), static_cast<int>(n));
    EXPECT_EQ(length_and_records(), State(n, n));
    ASSERT_EQ(done->refs.size(), 1u);
    EXPECT_EQ(done->refs[0].second, 1 - static_cast<int64_t>(n));
  }
}

TEST_F(LostReply, ChangedByOthersMeanwhileIsNotClaimed) {
  // The request is lost, and before it is sent again another client writes: it was not ours, which nobody can know.
  proxy_.drop_next(Proxy::kRequest);
  auto lost = append_one([&] {
    ASSERT_TRUE(run(*direct_, system_clock(), {}, [](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(auto attr, txn.attr(Ino{2}));
      attr->mode = 0600;
      txn.put_attr(Ino{2}, *attr);
      return {};
    }));
  });
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().fault, Fault::kUnknownOutcome);
  EXPECT_EQ(length_and_records(), State(0, 0));
}

TEST_F(LostReply, BlindAdditionsAreNotRepeated) {
  // Nothing was read that the commit changes, so a second application could not be told from the first.
  proxy_.drop_next(Proxy::kAnswer);
  auto txn = *engine_->begin(true, {});
  Change change{Change::Op::kAdd, Key::counter(counter::kUsedSpace), {}};
  change.delta = 7;
  auto lost = txn->commit(std::span(&change, 1));
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().fault, Fault::kUnknownOutcome);
  auto now = direct_->add_counter(counter::kUsedSpace, 0);
  ASSERT_TRUE(now);
  EXPECT_EQ(*now, 7);
}

TEST_F(LostReply, ReadsAreRepeatedQuietly) {
  proxy_.drop_next(Proxy::kAnswer);
  auto txn = *engine_->begin(false, {});
  std::vector<std::pair<Key, Value>> followed;
  Want want{Key::entry(Ino{1}, "x"), true};
  EXPECT_TRUE(txn->fetch(std::span(&want, 1), followed));
  EXPECT_EQ(proxy_.dropped(), 1);
}

}  // namespace
}  // namespace zest::meta::redis
