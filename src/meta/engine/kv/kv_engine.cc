#include "meta/engine/kv/kv_engine.h"

#include "base/bytes.h"
#include "meta/engine/kv/kv_txn.h"
#include "meta/engine/kv/layout.h"

namespace zest::meta::kv {
namespace {

constexpr size_t kScanPage = 1024;

// Of a line of the change log.
int64_t version_of(const Pair& pair) {
  return static_cast<int64_t>(ByteReader(std::string_view(pair.key).substr(sizeof(kLogPrefix) - 1)).be64());
}

class KvEngine : public Engine {
 public:
  explicit KvEngine(std::shared_ptr<Store> store) : store_(std::move(store)) { info_.name = store_->name(); }

  const EngineInfo& info() const override { return info_; }
  Result<std::unique_ptr<EngineTxn>> begin(bool, std::span<const Ino>) override {
    return std::make_unique<KvTxn>(*store_);
  }
  Result<std::vector<DirEntry>> list(Ino dir, std::string& cursor, size_t limit, bool with_attr) override;
  Result<void> scan(Table table, uint64_t within, const std::function<bool(const Key&, const Value&)>& each) override;
  Result<int64_t> add_counter(std::string_view name, int64_t delta) override;
  Result<LogRange> log_range() override;
  Result<std::vector<LogLine>> log_lines(int64_t from, size_t limit) override;
  Result<void> trim_log(int64_t first) override;
  Result<void> prepare() override { return {}; }
  Result<void> reset() override;
  int64_t absent_ref() const override { return 1; }
  Result<void> ping() override { return store_->ping(); }

 private:
  Result<void> scan_links(const std::function<bool(const Key&, const Value&)>& each);
  // Calls `each` with the pairs of [begin, end), page by page, no view held meanwhile.
  Result<void> pages(std::string begin, const std::string& end,
                     const std::function<Result<bool>(std::vector<Pair>&)>& each);
  Result<std::vector<std::string>> session_infos(const std::vector<Pair>& page);

  std::shared_ptr<Store> store_;
  EngineInfo info_;
};

Result<std::vector<DirEntry>> KvEngine::list(Ino dir, std::string& cursor, size_t limit, bool with_attr) {
  Place place = place_of(Key::has_entries(dir));
  std::string begin = place.key + cursor;
  if (!cursor.empty()) begin.push_back('\0');
  limit = std::max<size_t>(limit, 1);
  ZEST_ASSIGN(auto view, store_->view());
  ZEST_ASSIGN(auto pairs, view->scan(begin, place.end, limit));
  std::vector<DirEntry> out;
  out.reserve(pairs.size());
  std::vector<std::string> inodes;
  for (const auto& pair : pairs) {
    if (pair.key.size() == place.key.size()) continue;
    ZEST_ASSIGN(auto entry, decode_entry(pair.item.value));
    out.push_back({pair.key.substr(place.key.size()), entry, {}});
    if (with_attr) inodes.push_back(place_of(Key::inode(entry.ino)).key);
  }
  cursor = pairs.size() < limit ? std::string() : pairs.back().key.substr(place.key.size());
  if (!with_attr) return out;
  ZEST_ASSIGN(auto attrs, view->get(inodes));
  for (size_t i = 0; i < out.size(); i++) {
    if (!attrs[i] || attrs[i]->value.empty()) continue;
    ZEST_ASSIGN(out[i].attr, decode_attr(attrs[i]->value));
  }
  return out;
}

Result<void> KvEngine::pages(std::string begin, const std::string& end,
                             const std::function<Result<bool>(std::vector<Pair>&)>& each) {
  for (;;) {
    std::vector<Pair> page;
    {
      ZEST_ASSIGN(auto view, store_->view());
      ZEST_ASSIGN(page, view->scan(begin, end, kScanPage));
    }
    if (page.empty()) return {};
    bool full = page.size() == kScanPage;
    begin = page.back().key + '\0';
    ZEST_ASSIGN(bool more, each(page));
    if (!full || !more) return {};
  }
}

// The info of each session of a page, in its order.
Result<std::vector<std::string>> KvEngine::session_infos(const std::vector<Pair>& page) {
  std::vector<std::string> keys, out;
  for (const auto& pair : page) {
    auto key = parse_key(Table::kSessions, pair.key);
    keys.push_back(session_info_key(key ? key->a : 0));
  }
  ZEST_ASSIGN(auto view, store_->view());
  ZEST_ASSIGN(auto items, view->get(keys));
  for (auto& item : items) out.push_back(item ? std::move(item->value) : std::string());
  return out;
}

Result<void> KvEngine::scan(Table table, uint64_t within, const std::function<bool(const Key&, const Value&)>& each) {
  if (table == Table::kParentsTable) return scan_links(each);
  auto [begin, end] = table_range(table, within);
  return pages(std::move(begin), end, [&](std::vector<Pair>& page) -> Result<bool> {
    std::vector<std::string> infos;
    if (table == Table::kSessions) {
      ZEST_ASSIGN(infos, session_infos(page));
    }
    for (size_t i = 0; i < page.size(); i++) {
      auto key = parse_key(table, page[i].key);
      if (!key || (key->kind == Kind::kInode && page[i].item.value.empty())) continue;
      ZEST_ASSIGN(auto value, decode_value(*key, page[i].item.value));
      if (table == Table::kSessions) std::get<SessionRecord>(value).info = infos[i];
      if (!each(*key, value)) return false;
    }
    return true;
  });
}

// Links of one file are neighbours: gathered until the next file's come.
Result<void> KvEngine::scan_links(const std::function<bool(const Key&, const Value&)>& each) {
  uint64_t ino = 0;
  LinkCounts links;
  bool stopped = false;
  auto [begin, end] = table_range(Table::kParentsTable, 0);
  ZEST_TRY(pages(std::move(begin), end, [&](std::vector<Pair>& page) -> Result<bool> {
    for (const auto& pair : page) {
      auto key = parse_key(Table::kParentsTable, pair.key);
      if (!key) continue;
      ZEST_ASSIGN(int64_t count, decode_le(pair.item.value));
      if (key->a != ino && !links.empty()) {
        stopped = !each(Key::parents(Ino{ino}), links);
        links.clear();
        if (stopped) return false;
      }
      ino = key->a;
      if (count > 0) links[Ino{key->b}] = count;
    }
    return true;
  }));
  if (!stopped && !links.empty()) each(Key::parents(Ino{ino}), links);
  return {};
}

Result<int64_t> KvEngine::add_counter(std::string_view name, int64_t delta) {
  const std::string key = place_of(Key::counter(name)).key;
  for (;;) {  // lost races end: somebody else's addition went through
    std::vector<std::optional<Item>> items;
    {
      ZEST_ASSIGN(auto view, store_->view());
      ZEST_ASSIGN(items, view->get(std::span(&key, 1)));
    }
    ZEST_ASSIGN(int64_t value, decode_counter(name, items[0] ? items[0]->value : std::string()));
    value += delta;
    Check check{key, items[0] ? items[0]->version : 0};
    Write write{key, encode_counter(name, value)};
    auto done = store_->commit(std::span(&check, 1), {}, std::span(&write, 1));
    if (done) return value;
    if (done.error().fault != Fault::kConflict) return fail(std::move(done.error()));
  }
}

Result<LogRange> KvEngine::log_range() {
  LogRange range;
  ZEST_TRY(pages(log_key(0), after_prefix(kLogPrefix), [&](std::vector<Pair>& page) -> Result<bool> {
    if (range.last == 0) range.first = version_of(page.front());
    range.last = version_of(page.back());
    return true;
  }));
  return range;
}

Result<std::vector<LogLine>> KvEngine::log_lines(int64_t from, size_t limit) {
  ZEST_ASSIGN(auto view, store_->view());
  ZEST_ASSIGN(auto pairs, view->scan(log_key(std::max<int64_t>(from, 0)), after_prefix(kLogPrefix), limit));
  std::vector<LogLine> out;
  for (auto& pair : pairs) out.push_back({version_of(pair), std::move(pair.item.value)});
  return out;
}

Result<void> KvEngine::trim_log(int64_t first) {
  return pages(log_key(0), log_key(first), [&](std::vector<Pair>& page) -> Result<bool> {
    std::vector<Write> writes;
    for (auto& pair : page) writes.push_back({std::move(pair.key), std::nullopt});
    ZEST_TRY(store_->commit({}, {}, writes));
    return true;
  });
}

Result<void> KvEngine::reset() {
  return pages("", "\xFF", [&](std::vector<Pair>& page) -> Result<bool> {
    std::vector<Write> writes;
    for (auto& pair : page) writes.push_back({std::move(pair.key), std::nullopt});
    ZEST_TRY(store_->commit({}, {}, writes));
    return true;
  });
}

}  // namespace

std::unique_ptr<Engine> make_kv_engine(std::shared_ptr<Store> store) {
  return std::make_unique<KvEngine>(std::move(store));
}

}  // namespace zest::meta::kv
