// Redis in its other forms: behind TLS, sentinels, in a cluster, and as a replica for a while.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>
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

// A server behind TLS with a certificate of its own.
struct TlsServer {
  explicit TlsServer(const std::string& auth_clients) {
    folder = (std::filesystem::temp_directory_path() / "zest-tls-XXXXXX").string();
    EXPECT_TRUE(mkdtemp(folder.data()));
    cert = folder + "/cert.pem", key = folder + "/key.pem";
    std::string command =
        "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=redis.test -addext "
        "subjectAltName=DNS:redis.test,IP:127.0.0.1 -keyout " +
        key + " -out " + cert + " 2>/dev/null";
    EXPECT_EQ(std::system(command.c_str()), 0);
    tcp = start_tcp([&](const std::string& port) {
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
                                      auth_clients};
    });
    url = "rediss://127.0.0.1:" + std::to_string(tcp.port) + "/0?dial-timeout=90s&";
  }
  ~TlsServer() { std::filesystem::remove_all(folder); }

  std::string folder, cert, key, url;
  TcpServer tcp;
};

TEST(RedisTopology, Tls) {
  TlsServer server("yes");
  const std::string mine = "&tls-cert-file=" + server.cert + "&tls-key-file=" + server.key;
  const std::string ca = "tls-ca-cert-file=" + server.cert;
  auto engine = open_redis(server.url + ca + mine, {});
  ASSERT_TRUE(engine) << engine.error().message();
  use(**engine);
  for (const std::string& good : {"tls-server-name=redis.test&" + ca, std::string("insecure-skip-verify=1")}) {
    auto opened = open_redis(server.url + good + mine, {});
    EXPECT_TRUE(opened) << good << ": " << opened.error().message();
  }
  EXPECT_FALSE(open_redis(server.url + "tls-server-name=other.test&" + ca + mine, {}));
  EXPECT_FALSE(open_redis(server.url + mine.substr(1), {}));  // nobody we trust has signed it
}

TEST(RedisTopology, ManyThreadsOverTls) {
  TlsServer server("no");
  auto engine = open_redis(server.url + "insecure-skip-verify=1", {});
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
}

// One command on a server of its own connection, without an engine.
Reply ask(int port, const std::vector<std::string>& args) {
  auto settings = *parse_url("redis://127.0.0.1:" + std::to_string(port));
  auto stream = Stream::open(settings.addresses[0], settings);
  EXPECT_TRUE(stream);
  Connection connection(std::move(*stream), 60'000, 60'000);
  Pipeline pipeline;
  pipeline.add_list(args);
  auto replies = connection.exchange(pipeline);
  EXPECT_TRUE(replies && !(*replies)[0].is_error()) << (replies ? (*replies)[0].text : replies.error().message());
  return replies ? std::move((*replies)[0]) : Reply{};
}

TcpServer start_plain() {
  return start_tcp([](const std::string& port) {
    return std::vector<std::string>{"--port", port, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"};
  });
}

TcpServer start_member() {
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
                                    "1",
                                    "--repl-diskless-sync-delay",
                                    "0"};
  });
}

void meet(const TcpServer& a, const TcpServer& b) {
  std::string bus = ask(b.port, {"CONFIG", "GET", "cluster-port"}).items.at(1).text;
  ask(a.port, {"CLUSTER", "MEET", "127.0.0.1", std::to_string(b.port), bus});
}

void wait_for_cluster(std::initializer_list<int> ports) {
  for (int port : ports)
    wait_until("cluster_state:ok", [&] {
      auto info = ask(port, {"CLUSTER", "INFO"}).text;
      return info.find("cluster_state:ok") != info.npos &&
             info.find("cluster_known_nodes:" + std::to_string(ports.size())) != info.npos;
    });
}

void wait_for_replica(int port) {
  wait_until("the replica is in step", [&] {
    return ask(port, {"INFO", "replication"}).text.find("master_link_status:up") != std::string::npos;
  });
}

// How often a server was asked for a string.
int64_t gets(int port) {
  auto stats = ask(port, {"INFO", "commandstats"}).text;
  size_t at = stats.find("cmdstat_get:calls=");
  return at == stats.npos ? 0 : std::stoll(stats.substr(at + 18));
}

std::unique_ptr<Engine> open_reader(const std::string& url, const std::string& route) {
  EngineOptions read_only;
  read_only.read_only = true;
  auto reader = open_redis(url + "?route-read=" + route, read_only);
  EXPECT_TRUE(reader) << reader.error().message();
  return reader ? std::move(*reader) : nullptr;
}

uint64_t length_by(Engine& reader) {
  std::optional<Attr> attr;
  auto done = read(reader, system_clock(), [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(attr, txn.attr(Ino{2}));
    return {};
  });
  EXPECT_TRUE(done) << done.error().message();
  return attr ? attr->length : 0;
}

// Writes by way of one engine, and reads by way of others that may use replicas.
void replica_is_read_from(int replica, int master, const std::string& url) {
  auto writer = open_redis(url, {});
  ASSERT_TRUE(writer) << writer.error().message();
  use(**writer);
  auto reader = open_reader(url, "replica");
  ASSERT_TRUE(reader);
  wait_until("the replica has what was written", [&] { return length_by(*reader) == 5; });
  const int64_t before_replica = gets(replica), before_master = gets(master);
  EXPECT_EQ(length_by(*reader), 5u);
  EXPECT_EQ(gets(replica), before_replica + 1);
  EXPECT_EQ(gets(master), before_master);
  // each reader that takes any server takes one, sooner or later each of them
  bool both[2] = {false, false};
  for (int i = 0; i < 100 && !(both[0] && both[1]); i++) {
    auto random = open_reader(url, "random");
    ASSERT_TRUE(random);
    const int64_t replicas = gets(replica), masters = gets(master);
    EXPECT_EQ(length_by(*random), 5u);
    both[0] |= gets(replica) == replicas + 1;
    both[1] |= gets(master) == masters + 1;
  }
  EXPECT_TRUE(both[0] && both[1]);
}

TEST(RedisTopology, ClusterOfTwo) {
  TcpServer a = start_member(), b = start_member();
  ask(a.port, {"CLUSTER", "ADDSLOTSRANGE", "0", "8191"});
  ask(b.port, {"CLUSTER", "ADDSLOTSRANGE", "8192", "16383"});
  meet(a, b);
  wait_for_cluster({a.port, b.port});
  for (int db = 0; db < 6; db++) {  // their slots lie on both
    auto engine = open_redis("redis://127.0.0.1:" + std::to_string(a.port) + "/" + std::to_string(db), {});
    ASSERT_TRUE(engine) << engine.error().message();
    use(**engine);
  }
  const int64_t keys_a = ask(a.port, {"DBSIZE"}).integer, keys_b = ask(b.port, {"DBSIZE"}).integer;
  EXPECT_GT(keys_a, 0);
  EXPECT_GT(keys_b, 0);
  EXPECT_EQ(keys_a + keys_b, 6 * 4);
  auto engine =
      open_redis("redis://127.0.0.1:" + std::to_string(a.port) + ",127.0.0.1:" + std::to_string(b.port) + "/2", {});
  ASSERT_TRUE(engine) << engine.error().message();
  ASSERT_TRUE((*engine)->reset());
  EXPECT_EQ(ask(a.port, {"DBSIZE"}).integer + ask(b.port, {"DBSIZE"}).integer, 5 * 4);
}

TEST(RedisTopology, ReplicaOfAClusterIsReadFrom) {
  TcpServer master = start_member(), replica = start_member();
  ask(master.port, {"CLUSTER", "ADDSLOTSRANGE", "0", "16383"});
  meet(master, replica);
  wait_for_cluster({master.port, replica.port});
  ask(replica.port, {"CLUSTER", "REPLICATE", ask(master.port, {"CLUSTER", "MYID"}).text});
  wait_for_replica(replica.port);
  wait_until("the cluster knows its replica", [&] {
    auto slots = ask(master.port, {"CLUSTER", "SLOTS"});
    return slots.items.size() == 1 && slots.items[0].items.size() == 4;
  });
  replica_is_read_from(replica.port, master.port, "redis://127.0.0.1:" + std::to_string(master.port) + "/1");
}

// A sentinel is the same program with a configuration file first.
class Sentinel {
 public:
  explicit Sentinel(const TcpServer& master) : port_(free_port()) {
    std::string config = master.server->folder() + "/sentinel.conf";
    std::ofstream(config) << "sentinel monitor thevolume 127.0.0.1 " << master.port << " 1\n";
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 1);
    dup2(null, 2);
    execlp("redis-server", "redis-server", config.c_str(), "--sentinel", "--port", std::to_string(port_).c_str(),
           "--bind", "127.0.0.1", static_cast<char*>(nullptr));
    _exit(127);
  }
  ~Sentinel() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  int port() const { return port_; }
  std::string url(const std::string& master) const {
    return "redis://" + master + ",127.0.0.1:" + std::to_string(port_) + "/1";
  }

 private:
  const int port_;
  pid_t pid_ = -1;
};

TEST(RedisTopology, BehindASentinel) {
  TcpServer master = start_plain();
  Sentinel sentinel(master);
  std::unique_ptr<Engine> engine;
  wait_until("the sentinel answers", [&] {
    auto opened = open_redis(sentinel.url("thevolume"), {});
    if (opened) engine = std::move(*opened);
    return engine != nullptr;
  });
  if (engine) use(*engine);
  EXPECT_FALSE(open_redis(sentinel.url("another"), {}));
}

TEST(RedisTopology, ReplicaBehindASentinelIsReadFrom) {
  TcpServer master = start_plain(), replica = start_plain();
  ask(replica.port, {"REPLICAOF", "127.0.0.1", std::to_string(master.port)});
  wait_for_replica(replica.port);
  Sentinel sentinel(master);
  wait_until("the sentinel answers", [&] { return open_redis(sentinel.url("thevolume"), {}).has_value(); });
  wait_until("the sentinel knows the replica", [&] {
    auto replicas = ask(sentinel.port(), {"SENTINEL", "replicas", "thevolume"});
    if (replicas.items.size() != 1) return false;
    auto& fields = replicas.items[0].items;
    return std::any_of(fields.begin(), fields.end(), [](const Reply& field) { return field.text == "ok"; });
  });
  replica_is_read_from(replica.port, master.port, sentinel.url("thevolume"));
}

Result<void> put_length(Engine& engine, uint64_t length) {
  ZEST_TRY(run(engine, system_clock(), {}, [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto attr, txn.attr(Ino{2}));
    if (!attr) attr = Attr{};
    attr->length = length;
    txn.put_attr(Ino{2}, *attr);
    return {};
  }));
  return {};
}

// Master and replica change places while everybody stays connected to the old one: commits go to the new one, all
// connections do, and what is kept because the server tells of changes is what the new one tells of.
TEST(RedisTopology, ServersChangePlaces) {
  TcpServer first = start_plain(), second = start_plain();
  ask(second.port, {"REPLICAOF", "127.0.0.1", std::to_string(first.port)});
  wait_for_replica(second.port);
  const std::string url =
      "redis://127.0.0.1:" + std::to_string(first.port) + ",127.0.0.1:" + std::to_string(second.port) + "/0";
  auto engine = open_redis(url, {}), caching = open_redis(url + "?client-cache=true", {});
  ASSERT_TRUE(engine && caching);
  ASSERT_TRUE(put_length(**engine, 1));
  ASSERT_TRUE(put_length(**caching, 2));
  wait_until("the replica has it", [&] { return ask(second.port, {"EXISTS", "i2"}).integer == 1; });
  ask(second.port, {"REPLICAOF", "NO", "ONE"});
  ask(first.port, {"REPLICAOF", "127.0.0.1", std::to_string(second.port)});

  auto done = put_length(**engine, 3);
  EXPECT_TRUE(done) << done.error().message();
  done = put_length(**caching, 4);
  EXPECT_TRUE(done) << done.error().message();
  wait_for_replica(first.port);
  ask(first.port, {"REPLICAOF", "NO", "ONE"});  // from here on it hears of nothing
  for (uint64_t length = 5; length < 10; length++) {
    done = put_length(**engine, length);
    EXPECT_TRUE(done) << done.error().message();
    EXPECT_EQ(length_by(**engine), length);
    wait_until("the other client hears of it", [&] { return length_by(**caching) == length; });
  }
}

// Whoever reads or writes a file has nothing to do with a password: it is waited until there is a right one.
TEST(RedisTopology, PasswordThatChangesIsWaitedFor) {
  TestServer server({"--requirepass", "word"});
  auto engine = open_redis("unix://:word@" + server.socket_path(), {});
  ASSERT_TRUE(engine) << engine.error().message();
  Client admin(*parse_url("unix://:word@" + server.socket_path()), {});
  ASSERT_TRUE(admin.call({"CONFIG", "SET", "requirepass", "other"}, Client::Repeat::kSafe));
  ASSERT_TRUE(admin.call({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}, Client::Repeat::kSafe));
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    EXPECT_TRUE(admin.call({"CONFIG", "SET", "requirepass", "word"}, Client::Repeat::kSafe));
  });
  auto done = put_length(**engine, 1);
  EXPECT_TRUE(done) << done.error().message();
  later.join();
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
