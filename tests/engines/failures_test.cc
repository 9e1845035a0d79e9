// Servers that die, sleep, or answer into a cut connection: every change that was acknowledged is there, once.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "meta/txn.h"
#include "proxy.h"
#include "servers.h"

namespace zest::meta {
namespace {

using testing_servers::MariadbServer;
using testing_servers::PostgresServer;
using testing_servers::Proxy;

constexpr int64_t kDeadlineMs = 300'000;
const Ino kFile{7};

struct Server {
  std::string name;
  std::function<std::string()> fresh_url;
  std::function<void()> kill, start, pause, resume;
  // A URL through a proxy that stands in `folder`, and the paths of its two sockets.
  std::function<std::string(const std::string& folder)> proxied_url;
  std::function<std::pair<std::string, std::string>(const std::string& folder)> sockets;
};

Server postgres() {
  auto server = [] -> PostgresServer& { return PostgresServer::shared(); };
  return {"postgres",
          [=] { return server().fresh_url(); },
          [=] { server().kill(); },
          [=] { server().start(); },
          [=] { server().pause(); },
          [=] { server().resume(); },
          [](const std::string& folder) {
            return "postgres://postgres@/postgres?host=" + folder + "&table_prefix=proxied";
          },
          [=](const std::string& folder) {
            return std::pair(folder + "/.s.PGSQL.5432", server().folder() + "/.s.PGSQL.5432");
          }};
}

Server mysql() {
  auto server = [] -> MariadbServer& { return MariadbServer::shared(); };
  return {"mysql",
          [=] { return server().fresh_url(); },
          [=] { server().kill(); },
          [=] { server().start(); },
          [=] { server().pause(); },
          [=] { server().resume(); },
          [](const std::string& folder) { return "mysql://root@unix(" + folder + "/s)/zest?table_prefix=proxied"; },
          [=](const std::string& folder) { return std::pair(folder + "/s", server().socket()); }};
}

class Failures : public ::testing::TestWithParam<Server> {
 protected:
  void open(const std::string& url) {
    auto engine = open_engine(url, {});
    ASSERT_TRUE(engine) << engine.error().message();
    engine_ = std::move(*engine);
    auto prepared = engine_->prepare();
    ASSERT_TRUE(prepared) << prepared.error().message();
    auto made = change([](Txn& txn) -> Result<void> {
      txn.put_attr(kFile, Attr{});
      return {};
    });
    ASSERT_TRUE(made) << made.error().message();
  }
  Result<CommitResult> change(const std::function<Result<void>(Txn&)>& body,
                              std::function<Result<bool>(Txn&)> settled = {}) {
    TxnOptions options;
    options.deadline_ms = kDeadlineMs;
    options.settled = std::move(settled);
    return run(*engine_, system_clock(), options, body);
  }
  // Adds one to the file's length, and leaves a mark that tells whether it did.
  Result<CommitResult> count(const std::string& mark) {
    return change(
        [&](Txn& txn) -> Result<void> {
          ZEST_ASSIGN(auto attr, txn.attr(kFile));
          if (!attr) return fail(ENOENT);
          attr->length++;
          txn.put_attr(kFile, *attr);
          txn.put(Key::xattr(kFile, mark), std::string("x"));
          return {};
        },
        [&](Txn& txn) -> Result<bool> {
          ZEST_ASSIGN(auto found, txn.xattr(kFile, mark));
          return found.has_value();
        });
  }
  void expect_counted(uint64_t number) {
    auto result = read(*engine_, system_clock(), [&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(auto attr, txn.attr(kFile));
      ZEST_ASSIGN(auto marks, txn.xattrs(kFile));
      EXPECT_EQ(attr->length, number);
      EXPECT_EQ(marks.size(), number);
      return {};
    });
    EXPECT_TRUE(result) << result.error().message();
  }
  // Three threads count while `meanwhile` happens, and for a while after.
  void count_while(const std::function<void()>& meanwhile) {
    std::atomic<uint64_t> done = 0;
    std::atomic<bool> stop = false;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; t++) {
      threads.emplace_back([&, t] {
        for (int i = 0; !stop; i++) {
          auto result = count("user." + std::to_string(t) + "." + std::to_string(i));
          ASSERT_TRUE(result) << result.error().message();
          done++;
        }
      });
    }
    auto wait_for = [&](uint64_t more) {
      const uint64_t target = done + more;
      const int64_t end = system_clock().monotonic_ms() + kDeadlineMs;
      while (done < target && system_clock().monotonic_ms() < end && !HasFailure()) system_clock().sleep_ms(5);
      EXPECT_GE(done, target) << "work does not go on";
    };
    wait_for(10);
    meanwhile();
    wait_for(10);
    stop = true;
    for (auto& thread : threads) thread.join();
    expect_counted(done);
  }

  std::unique_ptr<Engine> engine_;
};

TEST_P(Failures, TheServerDiesAndComesBack) {
  open(GetParam().fresh_url());
  count_while([&] {
    GetParam().kill();
    GetParam().start();
  });
}

TEST_P(Failures, TheServerStandsStillForAWhile) {
  open(GetParam().fresh_url());
  count_while([&] {
    GetParam().pause();
    system_clock().sleep_ms(1500);
    GetParam().resume();
  });
}

TEST_P(Failures, AnAnswerThatGetsLost) {
  char pattern[] = "/tmp/zest-proxy-XXXXXX";
  const std::string folder = ::mkdtemp(pattern);
  ::chmod(folder.c_str(), 0755);
  {
    auto [path, target] = GetParam().sockets(folder);
    Proxy proxy(path, target);
    open(GetParam().proxied_url(folder));
    for (int i = 0; i < 10; i++) {
      // The fetch is answered; what comes after it is the commit.
      bool armed = false;
      auto result = change(
          [&](Txn& txn) -> Result<void> {
            ZEST_ASSIGN(auto attr, txn.attr(kFile));
            if (!attr) return fail(ENOENT);
            attr->length++;
            txn.put_attr(kFile, *attr);
            txn.put(Key::xattr(kFile, "user." + std::to_string(i)), std::string("x"));
            if (!armed) proxy.lose_next_answer();
            armed = true;
            return {};
          },
          [&](Txn& txn) -> Result<bool> {
            ZEST_ASSIGN(auto found, txn.xattr(kFile, "user." + std::to_string(i)));
            return found.has_value();
          });
      ASSERT_TRUE(result) << result.error().message();
      EXPECT_TRUE(proxy.lost_one());
    }
    expect_counted(10);
    // Without a way to find out, the caller is told.
    auto result = change([&](Txn& txn) -> Result<void> {
      txn.put(Key::xattr(Ino{8}, "user.a"), std::string("x"));
      proxy.lose_next_answer();
      return {};
    });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().fault, Fault::kUnknownOutcome);
    EXPECT_TRUE(engine_->reset());
    engine_.reset();
  }
  std::filesystem::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(Servers, Failures, ::testing::Values(postgres(), mysql()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace zest::meta
