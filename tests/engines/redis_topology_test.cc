// Redis in its other forms: behind TLS, sentinels, in a cluster, and as a replica for a while.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <thread>

#include "meta/engine/redis/client.h"
#include "meta/engine/redis/redis_engine.h"
#include "meta/engine/redis/test_server.h"

namespace zest::meta::redis {
namespace {

int free_port() {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  bool ok = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
            getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(fd);
  EXPECT_TRUE(ok);
  return ntohs(address.sin_port);
}

// A server on a TCP port. Another port is tried when somebody else was quicker.
struct TcpServer {
  std::unique_ptr<TestServer> server;
  int port = 0;
};
TcpServer start_tcp(const std::function<std::vector<std::string>(const std::string& port)>& options) {
  for (int attempt = 0;; attempt++) {
    TcpServer out;
    out.port = free_port();
    try {
      out.server = std::make_unique<TestServer>(options(std::to_string(out.port)));
      return out;
    } catch (const std::exception&) {
      if (attempt >= 5) throw;
    }
  }
}

void wait_until(const char* what, const std::function<bool()>& condition) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(90);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) {
      ADD_FAILURE() << what << ": not reached";
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void use(Engine& engine) {
  Attr attr;
  attr.length = 5;
  auto done = run(engine, system_clock(), {}, [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(Ino{2})}, {Key::entry(Ino{1}, "a"), true, true}}));
    txn.put_attr(Ino{2}, attr);
    txn.put(Key::entry(Ino{1}, "a"), Entry{FileType::kFile, Ino{2}});
    txn.put(Key::flocks(Ino{2}), FlockMap{{{3, 1}, 'R'}});
    return {};
  });
  ASSERT_TRUE(done) << done.error().message();
  std::string cursor;
  auto page = engine.list(Ino{1}, cursor, 100, true);
  ASSERT_TRUE(page) << page.error().message();
  ASSERT_EQ(page->size(), 1u);
  EXPECT_EQ((*page)[0].attr, attr);
  auto followed = run(engine, system_clock(), {}, [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::entry(Ino{1}, "a"), true, true}}));
    ZEST_ASSIGN(auto found, txn.attr(Ino{2}));
    EXPECT_EQ(found, attr);
    return {};
  });
  ASSERT_TRUE(followed) << followed.error().message();
  int locks = 0;
  auto scanned = engine.scan(Table::kFlockTable, 3, [&](const Key&, const Value&) { return ++locks > 0; });
  ASSERT_TRUE(scanned) << scanned.error().message();
  EXPECT_EQ(locks, 1);
}

TEST(RedisTopology, Tls) {
  std::string folder = (std::filesystem::temp_directory_path() / "zest-tls-XXXXXX").string();
  ASSERT_TRUE(mkdtemp(folder.data()));
  std::string cert = folder + "/cert.pem", key = folder + "/key.pem";
  std::string command =
      "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=redis.test -addext "
      "subjectAltName=DNS:redis.test,IP:127.0.0.1 -keyout " +
      key + " -out " + cert + " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  auto tcp = start_tcp([&](const std::string& port) {
    return std::vector<std::string>{"--tls-port",
                                    port,
                                    "--bind",
                                    "127.0.0.1",
                                    "--tls-cert-file",
                                    cert,
                                    "--tls-key-file",
                                    key,
                                    "--tls-ca-cert-file",
                                    cert,
                                    "--tls-auth-clients",
                                    "yes"};
  });
  std::string address = "rediss://127.0.0.1:" + std::to_string(tcp.port) + "/0?dial-timeout=90s&";
  std::string mine = "&tls-cert-file=" + cert + "&tls-key-file=" + key;
  auto engine = open_redis(address + "tls-ca-cert-file=" + cert + mine, {});
  ASSERT_TRUE(engine) << engine.error().message();
  use(**engine);
  for (const std::string& good :
       {"tls-server-name=redis.test&tls-ca-cert-file=" + cert, std::string("insecure-skip-verify=1")}) {
    auto opened = open_redis(address + good + mine, {});
    EXPECT_TRUE(opened) << good << ": " << opened.error().message();
  }
  EXPECT_FALSE(open_redis(address + "tls-server-name=other.test&tls-ca-cert-file=" + cert + mine, {}));
  EXPECT_FALSE(open_redis(address + mine.substr(1), {}));  // nobody we trust has signed it
  std::filesystem::remove_all(folder);
}

TEST(RedisTopology, ManyThreadsOverTls) {
  std::string folder = (std::filesystem::temp_directory_path() / "zest-tls-XXXXXX").string();
  ASSERT_TRUE(mkdtemp(folder.data()));
  std::string cert = folder + "/cert.pem", key = folder + "/key.pem";
  std::string command = "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=redis.test -keyout " + key +
                        " -out " + cert + " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  auto tcp = start_tcp([&](const std::string& port) {
    return std::vector<std::string>{"--tls-port",
                                    port,
                                    "--bind",
                                    "127.0.0.1",
                                    "--tls-cert-file",
                                    cert,
                                    "--tls-key-file",
                                    key,
                                    "--tls-ca-cert-file",
                                    cert,
                                    "--tls-auth-clients",
                                    "no"};
  });
  auto engine =
      open_redis("rediss://127.0.0.1:" + std::to_string(tcp.port) + "?dial-timeout=90s&insecure-skip-verify=1", {});
  ASSERT_TRUE(engine) << engine.error().message();
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 8; t++)
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 25; i++) {
        auto done = run(**engine, system_clock(), {}, [&](Txn& txn) -> Result<void> {
          ZEST_ASSIGN(auto text, txn.symlink(Ino{t * 100 + i}));
          EXPECT_FALSE(text);
          txn.put(Key::symlink(Ino{t * 100 + i}), std::string(20'000, 'x'));
          return {};
        });
        EXPECT_TRUE(done);
      }
    });
  for (auto& thread : threads) thread.join();
  std::filesystem::remove_all(folder);
}

TEST(RedisTopology, ClusterOfTwo) {
  auto node = [] {
    return start_tcp([](const std::string& port) {
      return std::vector<std::string>{"--port",
                                      port,
                                      "--bind",
                                      "127.0.0.1",
                                      "--cluster-enabled",
                                      "yes",
                                      "--cluster-port",
                                      std::to_string(free_port()),
                                      "--databases",
                                      "1"};
    });
  };
  TcpServer a = node(), b = node();
  auto on = [&](int port, std::vector<std::string> args) {
    auto settings = *parse_url("redis://127.0.0.1:" + std::to_string(port));
    auto stream = Stream::open(settings.addresses[0], settings);
    EXPECT_TRUE(stream);
    Connection connection(std::move(*stream), 60'000, 60'000);
    Pipeline pipeline;
    pipeline.add_list(args);
    auto replies = connection.exchange(pipeline);
    EXPECT_TRUE(replies && !(*replies)[0].is_error()) << (replies ? (*replies)[0].text : replies.error().message());
    return replies ? std::move((*replies)[0]) : Reply{};
  };
  std::string bus = on(b.port, {"CONFIG", "GET", "cluster-port"}).items.at(1).text;
  on(a.port, {"CLUSTER", "ADDSLOTSRANGE", "0", "8191"});
  on(b.port, {"CLUSTER", "ADDSLOTSRANGE", "8192", "16383"});
  on(a.port, {"CLUSTER", "MEET", "127.0.0.1", std::to_string(b.port), bus});
  for (int port : {a.port, b.port})
    wait_until("cluster_state:ok", [&] {
      auto info = on(port, {"CLUSTER", "INFO"}).text;
      return info.find("cluster_state:ok") != info.npos && info.find("cluster_known_nodes:2") != info.npos;
    });
  int64_t keys_a = 0, keys_b = 0;
  for (int db = 0; db < 6; db++) {  // their slots lie on both
    std::string url = "redis://127.0.0.1:" + std::to_string(a.port) + "/" + std::to_string(db);
    auto engine = open_redis(url, {});
    ASSERT_TRUE(engine) << engine.error().message();
    use(**engine);
  }
  keys_a = on(a.port, {"DBSIZE"}).integer;
  keys_b = on(b.port, {"DBSIZE"}).integer;
  EXPECT_GT(keys_a, 0);
  EXPECT_GT(keys_b, 0);
  EXPECT_EQ(keys_a + keys_b, 6 * 4);
  auto engine =
      open_redis("redis://127.0.0.1:" + std::to_string(a.port) + ",127.0.0.1:" + std::to_string(b.port) + "/2", {});
  ASSERT_TRUE(engine) << engine.error().message();
  ASSERT_TRUE((*engine)->reset());
  EXPECT_EQ(on(a.port, {"DBSIZE"}).integer + on(b.port, {"DBSIZE"}).integer, 5 * 4);
}

TEST(RedisTopology, BehindASentinel) {
  auto master = start_tcp([](const std::string& port) {
    return std::vector<std::string>{"--port", port, "--bind", "127.0.0.1"};
  });
  std::string config = master.server->folder() + "/sentinel.conf";
  std::ofstream(config) << "sentinel monitor thevolume 127.0.0.1 " << master.port << " 1\n";
  // a sentinel is the same program with a configuration file first
  int port = free_port();
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 1);
    dup2(null, 2);
    execlp("redis-server", "redis-server", config.c_str(), "--sentinel", "--port", std::to_string(port).c_str(),
           "--bind", "127.0.0.1", static_cast<char*>(nullptr));
    _exit(127);
  }
  std::string url = "redis://thevolume,127.0.0.1:" + std::to_string(port) + "/1";
  std::unique_ptr<Engine> engine;
  wait_until("the sentinel answers", [&] {
    auto opened = open_redis(url, {});
    if (opened) engine = std::move(*opened);
    return engine != nullptr;
  });
  if (engine) use(*engine);
  auto unknown = open_redis("redis://another,127.0.0.1:" + std::to_string(port), {});
  EXPECT_FALSE(unknown);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

TEST(RedisTopology, ReplicaRefusesWritesUntilItIsPromoted) {
  TestServer server;
  auto engine = open_redis(server.url(0), {});
  ASSERT_TRUE(engine);
  auto settings = *parse_url(server.url(0));
  Client bare(settings, {});
  ASSERT_TRUE(bare.call({"REPLICAOF", "127.0.0.1", "1"}, Client::Repeat::kSafe));
  auto txn = *(*engine)->begin(true, {});
  Change change{Change::Op::kPut, Key::symlink(Ino{2}), std::string("x")};
  auto refused = txn->commit(std::span(&change, 1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::kUnavailable) << refused.error().message();
  ASSERT_TRUE(bare.call({"REPLICAOF", "NO", "ONE"}, Client::Repeat::kSafe));
  auto done = txn->commit(std::span(&change, 1));
  EXPECT_TRUE(done) << done.error().message();
}

}  // namespace
}  // namespace zest::meta::redis
