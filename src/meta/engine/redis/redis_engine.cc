#include "meta/engine/redis/redis_engine.h"

#include "base/bytes.h"
#include "base/log.h"
#include "meta/engine/redis/patience.h"
#include "meta/engine/redis/redis_txn.h"
#include "meta/engine/redis/scan.h"
#include "meta/engine/redis/scripts.h"
#include "meta/engine/redis/tracking.h"

namespace zest::meta::redis {

namespace {

// Only what never writes may read from replicas.
Settings for_client(Settings settings, const EngineOptions& options) {
  if (!options.read_only) settings.route_read = Settings::Route::kMaster;
  return settings;
}

class RedisEngine : public Engine {
 public:
  RedisEngine(Settings settings, const EngineOptions& options)
      : client_(for_client(std::move(settings), options),
                {&read_script(), &commit_script(), &list_script(), &log_script()}),
        read_only_(options.read_only) {
    info_.name = "redis";
    info_.inline_counters = true;
    info_.list_batch = 4096;
  }
  Result<void> connect();

  const EngineInfo& info() const override { return info_; }
  Result<std::unique_ptr<EngineTxn>> begin(bool write, std::span<const Ino> hot) override {
    bool writes = write && !read_only_;
    return std::make_unique<RedisTxn>(client_, commits_, *layout_, cache_.get(), writes,
                                      writes ? contention_.turn(hot) : Contention::Turn());
  }
  void watch(Watcher watcher) override {
    if (cache_) cache_->watch(std::move(watcher));
  }
  Result<std::vector<DirEntry>> list(Ino dir, std::string& cursor, size_t limit, bool with_attr) override;
  Result<void> scan(Table table, uint64_t within, const Each& each) override {
    return Scanner(client_, *layout_, each).run(table, within);
  }
  Result<std::vector<Key>> chunks_of(std::span<const std::pair<Ino, uint64_t>> files) override {
    return Scanner(client_, *layout_, {}).chunks_of(files);
  }
  Result<int64_t> add_counter(std::string_view name, int64_t delta) override;
  Result<LogRange> log_range() override;
  Result<std::vector<LogLine>> log_lines(int64_t from, size_t limit) override;
  Result<void> trim_log(int64_t first) override;
  Result<void> prepare() override { return {}; }
  Result<void> reset() override;
  int64_t absent_ref() const override { return 1; }
  Result<void> ping() override {
    ZEST_TRY(client_.call({"PING"}, Client::Repeat::kSafe));
    return {};
  }
  Recent* recent() override { return &recent_; }
  uint64_t round_trips() const { return client_.round_trips(); }

 private:
  Result<Reply> ask_log(const char* what, int64_t version, size_t number);
  Result<void> check_server();
  void start_cache();
  void keep(Ino dir, const DirEntry& entry, uint64_t since);

  Client client_;
  CommitQueue commits_{client_};
  const bool read_only_;
  std::unique_ptr<Layout> layout_;
  Contention contention_;
  Recent recent_;
  EngineInfo info_;
  std::unique_ptr<CoherentCache> cache_;
  std::unique_ptr<Tracking> tracking_;
};

// The value of "name:value" in the answer to INFO.
std::string info_field(std::string_view info, std::string_view name) {
  std::string wanted = "\n" + std::string(name) + ":";
  size_t at = info.find(wanted);
  if (at == info.npos) return {};
  at += wanted.size();
  return std::string(info.substr(at, info.find_first_of("\r\n", at) - at));
}

Result<void> RedisEngine::connect() {
  ZEST_ASSIGN(bool clustered, client_.clustered());
  layout_ = std::make_unique<Layout>(clustered ? "{" + std::to_string(client_.settings().db) + "}" : "");
  ZEST_TRY(check_server());
  const Settings& settings = client_.settings();
  // the master tells of a change before a replica has it
  const bool replicas = settings.route_read != Settings::Route::kMaster;
  if (settings.client_cache && replicas) log_warning("client-cache is off: it cannot be had with route-read");
  if (settings.client_cache && !replicas) start_cache();
  return {};
}

void RedisEngine::start_cache() {
  const Settings& settings = client_.settings();
  // as many inodes as entries
  cache_ = std::make_unique<CoherentCache>(2 * static_cast<size_t>(settings.client_cache_size),
                                           settings.client_cache_expire_ms);
  tracking_ = std::make_unique<Tracking>(client_, *layout_, *cache_);
  std::string cursor;
  const auto preload = static_cast<size_t>(settings.client_cache_preload);
  if (preload == 0) return;
  if (auto page = list(kRootIno, cursor, preload, true); !page)
    log_warning("client-cache-preload: " + page.error().message());
}

Result<void> RedisEngine::check_server() {
  auto reply = client_.call({"INFO"}, Client::Repeat::kSafe);
  if (!reply) {
    // users without the right to ask are told apart from servers that cannot be reached
    if (reply.error().fault != Fault::kPlain) return fail(std::move(reply.error()));
    return ping();
  }
  std::string version = info_field(reply->text, "redis_version");
  auto major = parse_int(version.substr(0, version.find('.')));
  if (major && *major < 4) return fail(ENOTSUP, "Redis " + version + " is too old: 4.0 or newer is needed");
  if (info_field(reply->text, "aof_enabled") == "0")
    log_warning("Redis keeps no append-only file: changes of the last seconds are lost when it crashes");
  std::string policy = info_field(reply->text, "maxmemory_policy");
  if (policy.empty() || policy == "noeviction" || info_field(reply->text, "storage_provider") == "flash") return {};
  log_warning("Redis would evict keys when memory runs out (maxmemory_policy " + policy + "): set to noeviction");
  auto set = client_.call({"CONFIG", "SET", "maxmemory-policy", "noeviction"}, Client::Repeat::kSafe);
  if (!set) log_warning("Setting maxmemory-policy failed, please do it yourself: " + set.error().what);
  return {};
}

Result<std::vector<DirEntry>> RedisEngine::list(Ino dir, std::string& cursor, size_t limit, bool with_attr) {
  const uint64_t since = cache_ ? cache_->now() : 0;
  std::string from = cursor.empty() ? "0" : cursor;
  std::string count = std::to_string(std::clamp<size_t>(limit, 1, 10'000));
  ZEST_ASSIGN(auto reply, patiently(client_.settings(), [&] {
                return client_.eval(list_script(), {layout_->key("d", raw(dir))},
                                    {layout_->prefix(), from, count, with_attr ? "1" : "0"}, Client::Repeat::kSafe,
                                    Client::Lane::kBulk);
              }));
  auto malformed = [] { return fail(EPROTO, "Redis: unexpected reply to a listing"); };
  if (!reply.is_array() || reply.items.size() != 3) return malformed();
  auto &names = reply.items[1].items, &attrs = reply.items[2].items;
  if (names.size() % 2 != 0 || (with_attr && attrs.size() * 2 != names.size())) return malformed();
  std::vector<DirEntry> out;
  out.reserve(names.size() / 2);
  for (size_t i = 0; i < names.size(); i += 2) {
    ZEST_ASSIGN(auto entry, decode_entry(names[i + 1].text));
    DirEntry& added = out.emplace_back(DirEntry{std::move(names[i].text), entry, {}});
    if (!with_attr || attrs[i / 2].text.empty()) continue;
    ZEST_ASSIGN(added.attr, decode_attr(attrs[i / 2].text));
  }
  if (cache_ && with_attr)
    for (const auto& entry : out) keep(dir, entry, since);
  cursor = reply.items[0].text == "0" ? "" : reply.items[0].text;
  return out;
}

void RedisEngine::keep(Ino dir, const DirEntry& entry, uint64_t since) {
  cache_->fetched(Key::entry(dir, entry.name), entry.entry, since);
  if (entry.attr) cache_->fetched(Key::inode(entry.entry.ino), *entry.attr, since);
}

Result<int64_t> RedisEngine::add_counter(std::string_view name, int64_t delta) {
  if (read_only_) return fail(EROFS);
  // numbers that are given out twice are merely lost; sums must not be added to twice
  bool ids = name != counter::kUsedSpace && name != counter::kTotalInodes;
  auto once = [&] {
    return client_.call({"INCRBY", layout_->key(counter_name(name)), std::to_string(delta)},
                        ids ? Client::Repeat::kSafe : Client::Repeat::kNever);
  };
  ZEST_ASSIGN(auto reply, patiently(client_.settings(), once));
  if (!reply.is_integer()) return fail(EPROTO, "Redis: unexpected reply to INCRBY");
  return reply.integer + counter_base(name);
}

Result<Reply> RedisEngine::ask_log(const char* what, int64_t version, size_t number) {
  ZEST_ASSIGN(auto reply, patiently(client_.settings(), [&] {
                return client_.eval(log_script(), {layout_->key("txnLog"), layout_->key("txnLastLog")},
                                    {what, std::to_string(version), std::to_string(number)}, Client::Repeat::kSafe,
                                    Client::Lane::kBulk);
              }));
  if (!reply.is_array() || reply.items.size() != 2 || !reply.items[0].is_integer())
    return fail(EPROTO, "Redis: unexpected reply about the change log");
  return reply;
}

Result<LogRange> RedisEngine::log_range() {
  ZEST_ASSIGN(const auto reply, ask_log("range", 0, 0));
  return LogRange{reply.items[0].integer, reply.items[1].integer};
}

Result<std::vector<LogLine>> RedisEngine::log_lines(int64_t from, size_t limit) {
  ZEST_ASSIGN(auto reply, ask_log("lines", from, limit));
  std::vector<LogLine> out;
  for (auto& line : reply.items[1].items)
    out.push_back({reply.items[0].integer + static_cast<int64_t>(out.size()), std::move(line.text)});
  return out;
}

Result<void> RedisEngine::trim_log(int64_t first) {
  if (read_only_) return fail(EROFS);
  ZEST_TRY(ask_log("trim", first, 0));
  return {};
}

Result<void> RedisEngine::reset() {
  if (layout_->prefix().empty()) {
    ZEST_TRY(client_.call({"FLUSHDB"}, Client::Repeat::kSafe, Client::Lane::kBulk));
    return {};
  }
  std::string cursor = "0";
  do {
    ZEST_ASSIGN(auto page, client_.call({"SCAN", cursor, "MATCH", layout_->prefix() + "*", "COUNT", "1000"},
                                        Client::Repeat::kSafe, Client::Lane::kBulk));
    if (!page.is_array() || page.items.size() != 2) return fail(EPROTO, "Redis: unexpected reply to SCAN");
    cursor = page.items[0].text;
    std::vector<std::string> unlink{"UNLINK"};
    for (auto& key : page.items[1].items) unlink.push_back(std::move(key.text));
    if (unlink.size() > 1) ZEST_TRY(client_.call(unlink, Client::Repeat::kSafe, Client::Lane::kBulk));
  } while (cursor != "0");
  return {};
}

}  // namespace

Result<std::unique_ptr<Engine>> open_redis(const std::string& url, const EngineOptions& options) {
  ZEST_ASSIGN(auto settings, parse_url(url));
  auto engine = std::make_unique<RedisEngine>(std::move(settings), options);
  ZEST_TRY(engine->connect());
  return engine;
}

uint64_t round_trips(const Engine& engine) {
  auto* redis = dynamic_cast<const RedisEngine*>(&engine);
  return redis ? redis->round_trips() : 0;
}

}  // namespace zest::meta::redis
