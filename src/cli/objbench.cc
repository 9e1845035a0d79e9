// zestfs objbench: does an object storage do what a volume needs, and how fast? (docs/behaviour/cli.md)
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "base/log.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/terminal.h"
#include "cli/volume_options.h"

namespace zest::cli {
namespace {

using Seconds = std::chrono::duration<double>;
double now() { return Seconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct ObjbenchCommand {
  std::vector<std::string> args;
  std::string storage = "file", access_key, secret_key, session_token, storage_class;
  std::string block_size = "4M", big_object_size = "1G", small_object_size = "128K";
  int shards = 0, small_objects = 100, threads = 4;
  bool skip_functional = false, json = false;

  int run();
  Result<std::unique_ptr<object::Storage>> open();
  void functional(object::Storage& store);
  void functional_basic(object::Storage& store);
  void functional_sync(object::Storage& store);
  Result<void> performance(object::Storage& store);
  void check(const char* category, const char* test, const Result<void>& result);
  Result<double> on_threads(const char* name, int count, const std::function<Result<void>(int)>& work);
  void add(const char* item, const std::string& value, const std::string& cost);

  uint64_t block = 0, big = 0, small = 0;
  std::string prefix, payload;
  std::vector<std::vector<std::string>> tests{{"CATEGORY", "TEST", "RESULT"}}, rows{{"ITEM", "VALUE", "COST"}};
  std::vector<std::string> notes;
  int failed = 0;
  const std::atomic<bool>* cancelled = nullptr;
};

Result<std::unique_ptr<object::Storage>> ObjbenchCommand::open() {
  Format format;
  format.name = prefix;
  format.storage = storage;
  format.bucket = canonical_bucket(storage, args[0]);
  format.access_key = access_key;
  format.secret_key = secret_key;
  format.session_token = session_token;
  format.storage_class = storage_class;
  format.shards = shards;
  return open_volume_storage(format);
}

void ObjbenchCommand::check(const char* category, const char* test, const Result<void>& result) {
  std::string text = "pass";
  if (!result && result.error().code == ENOTSUP) {
    text = "not support";
  } else if (!result) {
    failed++;
    text = result.error().message();
    if (text.size() > 45) {
      notes.push_back(text);
      text = fmt::format("{}... [{}]", text.substr(0, 36), notes.size());
    }
  }
  tests.push_back({category, test, text});
}

Result<void> expect(bool good, const char* what) {
  if (!good) return fail(EIO, what);
  return {};
}

void ObjbenchCommand::functional_basic(object::Storage& store) {
  std::string body(1000, 'x');
  for (size_t i = 0; i < body.size(); i++) body[i] = static_cast<char>(i * 7);
  check("basic", "create a bucket", store.create());
  check("basic", "put an object", store.put("test", body));
  check("basic", "get an object", [&]() -> Result<void> {
    ZEST_ASSIGN(auto got, store.get("test"));
    return expect(got == body, "another content came back");
  }());
  check("basic", "get non-exist", expect(code_of(store.get("not_exists")) == ENOENT, "ENOENT was expected"));
  check("basic", "get partial object", [&]() -> Result<void> {
    ZEST_ASSIGN(auto got, store.get("test", 100, 200));
    ZEST_TRY(expect(got == body.substr(100, 200), "another range came back"));
    ZEST_ASSIGN(got, store.get("test", 900, object::kToEnd));
    return expect(got == body.substr(900), "the end of the object did not come back");
  }());
  check("basic", "head an object", [&]() -> Result<void> {
    ZEST_ASSIGN(auto info, store.head("test"));
    return expect(info.size == body.size(), "another size");
  }());
  check("basic", "delete an object", [&]() -> Result<void> {
    ZEST_TRY(store.remove("test"));
    return expect(code_of(store.head("test")) == ENOENT, "it is still there");
  }());
  check("basic", "delete non-exist", store.remove("not_exists"));
  check("basic", "list objects", [&]() -> Result<void> {
    for (const char* key : {"list/a", "list/b", "list/c"}) ZEST_TRY(store.put(key, "1"));
    std::string keys;
    ZEST_TRY(object::list_all(store, "list/", [&](const object::ObjectInfo& info) {
      if (!info.is_dir) keys += info.key + " ";
      return true;
    }));
    for (const char* key : {"list/a", "list/b", "list/c"}) ZEST_TRY(store.remove(key));
    return expect(keys == "list/a list/b list/c ", "another list came back");
  }());
}

void ObjbenchCommand::functional_sync(object::Storage& store) {
  auto round_trip = [&](const std::string& key, const std::string& body) -> Result<void> {
    ZEST_TRY(store.put(key, body));
    ZEST_ASSIGN(auto got, store.get(key));
    ZEST_TRY(store.remove(key));
    return expect(got == body, "another content came back");
  };
  check("sync", "special key", round_trip("special/测试 file+%20~!@#$&*()", "1"));
  check("sync", "put a big object", round_trip("big", std::string(5 << 20, 'b')));
  check("sync", "put an empty object", round_trip("empty", ""));
  check("sync", "multipart upload", [&]() -> Result<void> {
    if (!store.limits().multipart) return fail(ENOTSUP);
    std::string first(std::max<uint64_t>(store.limits().min_part, 5 << 20), 'p'), second = "the end";
    ZEST_ASSIGN(auto upload, store.start_multipart("multi"));
    std::vector<object::Part> parts;
    ZEST_ASSIGN(auto one, store.put_part("multi", upload, 1, first));
    ZEST_ASSIGN(auto two, store.put_part("multi", upload, 2, second));
    parts = {one, two};
    ZEST_TRY(store.finish_multipart("multi", upload, parts));
    ZEST_ASSIGN(auto got, store.get("multi"));
    ZEST_TRY(store.remove("multi"));
    return expect(got == first + second, "another content came back");
  }());
  for (const char* test : {"change owner/group", "change permission", "change mtime"})
    check("sync", test, fail(ENOTSUP));
}

void ObjbenchCommand::functional(object::Storage& store) {
  if (!json) fmt::print("Start Functional Testing ...\n");
  functional_basic(store);
  functional_sync(store);
  if (json) return;
  fmt::print("{}", table(tests, 1));
  for (size_t i = 0; i < notes.size(); i++) fmt::print("[{}] {}\n", i + 1, notes[i]);
  fmt::print("\n");
}

Result<double> ObjbenchCommand::on_threads(const char* name, int count, const std::function<Result<void>(int)>& work) {
  std::atomic<uint64_t> done{0}, total{static_cast<uint64_t>(count)};
  std::atomic<int> next{0};
  std::mutex mutex;
  std::optional<Error> error;
  Progress progress(name, &done, &total);
  double start = now();
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; t++)
    workers.emplace_back([&] {
      for (int i; (i = next++) < count && !*cancelled; done++) {
        auto result = work(i);
        if (result) continue;
        std::lock_guard lock(mutex);
        error = result.error();
        return;
      }
    });
  for (auto& worker : workers) worker.join();
  if (error) return fail(*error);
  if (*cancelled) return fail(EINTR, name);
  return std::max(now() - start, 1e-9);
}

void ObjbenchCommand::add(const char* item, const std::string& value, const std::string& cost) {
  rows.push_back({item, value, cost});
}

Result<void> ObjbenchCommand::performance(object::Storage& store) {
  int blocks = static_cast<int>(std::max<uint64_t>(1, big / block));
  double mib = static_cast<double>(blocks) * static_cast<double>(block) / (1 << 20);
  std::string_view small_body = std::string_view(payload).substr(0, small);
  auto big_key = [](int i) { return fmt::format("big.{}", i); };
  auto small_key = [](int i) { return fmt::format("small.{}", i); };
  auto per = [&](double seconds, int count) {
    return fmt::format("{:.2f} ms/object", seconds * 1000 / count * threads);
  };
  ZEST_ASSIGN(double t, on_threads("upload objects", blocks, [&](int i) {
                return store.put(big_key(i), std::string_view(payload).substr(0, block));
              }));
  add("upload objects", fmt::format("{:.2f} MiB/s", mib / t), per(t, blocks));
  ZEST_ASSIGN(t, on_threads("download objects", blocks, [&](int i) -> Result<void> {
                ZEST_ASSIGN(auto got, store.get(big_key(i)));
                return expect(got.size() == block, "a short object");
              }));
  add("download objects", fmt::format("{:.2f} MiB/s", mib / t), per(t, blocks));
  ZEST_ASSIGN(
      t, on_threads("put small objects", small_objects, [&](int i) { return store.put(small_key(i), small_body); }));
  add("put small objects", fmt::format("{:.2f} objects/s", small_objects / t), per(t, small_objects));
  ZEST_ASSIGN(t, on_threads("get small objects", small_objects, [&](int i) -> Result<void> {
                ZEST_ASSIGN(auto got, store.get(small_key(i)));
                return expect(got.size() == small, "a short object");
              }));
  add("get small objects", fmt::format("{:.2f} objects/s", small_objects / t), per(t, small_objects));
  double start = now();
  ZEST_ASSIGN(auto page, store.list("", "", "", 1000));
  add("list objects", fmt::format("{} objects", page.objects.size()),
      fmt::format("{:.2f} ms/{:>3} objects", (now() - start) * 1000, page.objects.size()));
  ZEST_ASSIGN(t, on_threads("head objects", small_objects, [&](int i) -> Result<void> {
                ZEST_ASSIGN(auto info, store.head(small_key(i)));
                return expect(info.size == small, "another size");
              }));
  add("head objects", fmt::format("{:.2f} objects/s", small_objects / t), per(t, small_objects));
  ZEST_ASSIGN(t, on_threads("delete objects", small_objects, [&](int i) { return store.remove(small_key(i)); }));
  add("delete objects", fmt::format("{:.2f} objects/s", small_objects / t), per(t, small_objects));
  ZEST_TRY(on_threads("clean up", blocks, [&](int i) { return store.remove(big_key(i)); }));
  for (const char* item : {"change permissions", "change owner/group", "update mtime"})
    add(item, "not support", "not support");
  return {};
}

int ObjbenchCommand::run() {
  for (auto [text, unit, into, flag] : {std::tuple{&block_size, uint64_t{1} << 10, &block, "block-size"},
                                        {&big_object_size, uint64_t{1} << 20, &big, "big-object-size"},
                                        {&small_object_size, uint64_t{1} << 10, &small, "small-object-size"}}) {
    auto bytes = parse_bytes(*text, unit, flag);
    if (!bytes) return complain("", bytes.error());
    if (*bytes == 0) return complain(fmt::format("{} should not be zero", flag));
    *into = *bytes;
  }
  if (threads <= 0 || small_objects <= 0) return complain("threads and small-objects should be greater than 0");
  int most = static_cast<int>(std::min<uint64_t>(1 << 20, std::max<uint64_t>(1, big / block)));
  if (threads > std::max(most, small_objects)) {
    threads = std::max(most, small_objects);
    log_warning(fmt::format("more threads than objects: {} are used", threads));
  }
  if (storage == "file" && args[0].find("://") != std::string::npos && !args[0].starts_with("file://")) {
    warn_user("The storage is a local folder, but the bucket looks like a URL: " + args[0]);
    warn_user("Give the kind of the storage with --storage.");
    if (!confirm()) return complain("Aborted.");
  }
  cancelled = watch_interrupts();
  prefix = fmt::format("__juicefs_benchmark_{}__", std::chrono::system_clock::now().time_since_epoch().count());
  auto store = open();
  if (!store) return complain("cannot open the storage", store.error());
  if (auto made = (*store)->create(); !made) return complain("cannot create the bucket", made.error());
  payload.resize(std::max(block, small));
  std::mt19937_64 random(std::random_device{}());
  for (auto& c : payload) c = static_cast<char>(random());
  if (!skip_functional) functional(**store);
  if (!json) fmt::print("Start Performance Testing ...\n");
  auto measured = performance(**store);
  auto swept = object::list_all(**store, "",
                                [&](const object::ObjectInfo& info) { return (*store)->remove(info.key).has_value(); });
  if (!measured) return complain("benchmark", measured.error());
  if (!swept) log_warning("what the benchmark wrote could not be removed: " + swept.error().message());
  if (json) {
    nlohmann::ordered_json out{{"tests", nlohmann::ordered_json::array()}, {"items", nlohmann::ordered_json::array()}};
    for (size_t i = 1; i < tests.size(); i++)
      out["tests"].push_back({{"category", tests[i][0]}, {"test", tests[i][1]}, {"result", tests[i][2]}});
    for (size_t i = 1; i < rows.size(); i++)
      out["items"].push_back({{"item", rows[i][0]}, {"value", rows[i][1]}, {"cost", rows[i][2]}});
    fmt::print("{}\n", out.dump(2));
  } else {
    fmt::print(
        "Benchmark finished! block-size: {}, big-object-size: {}, small-object-size: {}, small-objects: {}, "
        "NumThreads: {}\n{}",
        format_size(block), format_size(big), format_size(small), small_objects, threads, table(rows));
  }
  return failed ? 1 : 0;
}

}  // namespace

Runner setup_objbench(CLI::App& app) {
  auto command = std::make_shared<ObjbenchCommand>();
  auto* c = command.get();
  positionals(app, c->args, 1, 1);
  app.add_option("--storage", c->storage, "kind of object storage");
  app.add_option("--access-key", c->access_key, "access key (env ACCESS_KEY)")->envname("ACCESS_KEY");
  app.add_option("--secret-key", c->secret_key, "secret key (env SECRET_KEY)")->envname("SECRET_KEY");
  app.add_option("--session-token", c->session_token, "session token (env SESSION_TOKEN)")->envname("SESSION_TOKEN");
  app.add_option("--storage-class,--sc", c->storage_class, "storage class of the objects");
  app.add_option("--shards", c->shards, "spread over this many buckets");
  app.add_option("--block-size", c->block_size, "size of one object of a big file, in KiB");
  app.add_option("--big-object-size", c->big_object_size, "bytes moved in all, in MiB");
  app.add_option("--small-object-size", c->small_object_size, "size of a small object, in KiB");
  app.add_option("--small-objects", c->small_objects, "number of small objects");
  app.add_option("--threads,-p", c->threads, "threads");
  app.add_flag("--skip-functional-tests", c->skip_functional, "measure only");
  app.add_flag("--json", c->json, "print JSON");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
