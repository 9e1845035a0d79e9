// The S3 store against SeaweedFS: the contract of storages, and what only S3 has.
#include <atomic>

#include "object/contract_suite.h"
#include "object/open.h"
#include "object/prefix.h"
#include "weed.h"

namespace zest::object {

// Ready when a bucket can be made and an object be stored: the volume servers come up after the gateway.
bool Weed::wait_ready() {
  StoreOptions options;
  options.retries = 0;
  auto store = open_store("s3", url() + "/ready", {kAccess, kSecret, {}}, options);
  if (!store) return false;
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (std::chrono::steady_clock::now() < deadline) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = 0;
      return false;
    }
    if ((*store)->create() && (*store)->put("probe", "x")) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return false;
}

namespace {

Weed* server;

std::unique_ptr<Storage> open(const std::string& name, const std::string& bucket,
                              const std::string& secret = Weed::kSecret, StoreOptions options = {}) {
  auto store = open_store(name, server->url() + "/" + bucket, {Weed::kAccess, secret, {}}, options);
  EXPECT_TRUE(store) << store.error().message();
  return std::move(*store);
}

std::atomic<int> next_folder = 0;

// Each test gets a folder of its own in a bucket that stays.
std::shared_ptr<Storage> fresh(const std::string& name) {
  auto store = open(name, "contract");
  auto made = store->create();
  EXPECT_TRUE(made) << made.error().message();
  return with_prefix(std::move(store), "t" + std::to_string(next_folder++) + "/");
}

const StorageCase kCases[] = {
    {"s3", [] { return fresh("s3"); }, true, false},
    {"minio", [] { return fresh("minio"); }, true, false},
};
INSTANTIATE_TEST_SUITE_P(Weed, StorageContract, testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

TEST(S3, BucketIsMadeOnce) {
  auto store = open("s3", "newbucket");
  auto made = store->create();
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_TRUE(store->create());
  EXPECT_TRUE(store->put("k", "x"));
  EXPECT_EQ(store->describe(), "s3://newbucket/");
}

TEST(S3, WrongSecretsAreRefused) {
  auto good = open("s3", "secrets");
  ASSERT_TRUE(good->create());
  ASSERT_TRUE(good->put("k", "x"));
  auto bad = open("s3", "secrets", "wrong");
  auto put = bad->put("k", "y");
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, EACCES) << put.error().message();
  EXPECT_EQ(put.error().what.find("wrong"), std::string::npos);
  EXPECT_EQ(code_of(bad->get("k")), EACCES);
  EXPECT_EQ(code_of(bad->list("", "", "", 10)), EACCES);
  EXPECT_EQ(code_of(bad->remove("k")), EACCES);
  auto anonymous = open_store("s3", server->url() + "/secrets", {"anonymous", {}, {}}, {});
  ASSERT_TRUE(anonymous);
  EXPECT_EQ(code_of((*anonymous)->get("k")), EACCES);
  EXPECT_EQ(good->get("k").value(), "x");
}

TEST(S3, VolumeStack) {
  Format format;
  format.name = "vol";
  format.storage = "s3";
  format.bucket = server->url() + "/stack";
  format.access_key = Weed::kAccess;
  format.secret_key = Weed::kSecret;
  auto store = open_volume_store(format, {}, {});
  ASSERT_TRUE(store) << store.error().message();
  auto probed = probe_store(**store);
  ASSERT_TRUE(probed) << probed.error().message();
  ASSERT_TRUE((*store)->put("chunks/0/0/1_0_3", "abc"));
  EXPECT_EQ(open("s3", "stack")->get("vol/chunks/0/0/1_0_3").value(), "abc");
}

TEST(S3, Tls) {
  ASSERT_TRUE(open("s3", "tls")->create());
  auto over_tls = [&](const std::string& options) {
    StoreOptions store_options;
    store_options.retries = 0;
    auto store =
        open_store("s3", server->tls_url() + "/tls" + options, {Weed::kAccess, Weed::kSecret, {}}, store_options);
    EXPECT_TRUE(store);
    return (*store)->put("k", "x");
  };
  auto unknown = over_tls("");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().fault, Fault::kPlain) << unknown.error().message() << ": will not pass by trying again";
  auto trusted = over_tls("?ca-certs=" + server->cert_file());
  EXPECT_TRUE(trusted) << trusted.error().message();
  auto insecure = over_tls("?tls-insecure-skip-verify=true");
  EXPECT_TRUE(insecure) << insecure.error().message();
  EXPECT_FALSE(over_tls("?ca-certs=/nowhere.pem"));
}

TEST(S3, ServerThatStandsStill) {
  auto patient = open("s3", "still");
  ASSERT_TRUE(patient->create());
  ASSERT_TRUE(patient->put("before", "1"));
  StoreOptions options;
  options.retries = 1;
  options.get_timeout_ms = options.put_timeout_ms = 1000;
  auto hasty = open("s3", "still", Weed::kSecret, options);
  server->pause();
  auto get = hasty->get("before");
  auto put = hasty->put("during", "2");
  std::thread waiting([&] {
    auto done = patient->put("waited", "3");
    EXPECT_TRUE(done) << done.error().message();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  server->resume();
  waiting.join();
  ASSERT_FALSE(get);
  EXPECT_EQ(get.error().fault, Fault::kUnavailable);
  ASSERT_FALSE(put);
  EXPECT_NE(put.error().fault, Fault::kPlain);
  EXPECT_EQ(patient->get("waited").value_or(""), "3");
  EXPECT_EQ(patient->get("before").value_or(""), "1");
  EXPECT_TRUE(patient->put("during", "4"));
}

TEST(S3, LongListings) {
  auto store = fresh("s3");
  std::vector<std::string> expected, found;
  std::vector<std::thread> threads;
  constexpr int kCount = 1234;
  for (int i = 0; i < kCount; i++) expected.push_back("l/" + std::to_string(100'000 + i));
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      for (size_t i = static_cast<size_t>(t); i < expected.size(); i += 4) EXPECT_TRUE(store->put(expected[i], "x"));
    });
  for (auto& thread : threads) thread.join();
  ASSERT_TRUE(list_all(*store, "l/", [&](const ObjectInfo& object) {
    found.push_back(object.key);
    return true;
  }));
  EXPECT_EQ(found, expected);
  EXPECT_TRUE(store->remove_many(expected).empty());
  EXPECT_TRUE(store->list("l/", "", "", 10)->objects.empty());
}

}  // namespace
}  // namespace zest::object

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  ::setenv("no_proxy", "127.0.0.1", 1);
  zest::object::Weed weed;
  if (!weed.start()) return 1;
  zest::object::server = &weed;
  return RUN_ALL_TESTS();
}
