#include "object/shard.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace zest::object {

uint32_t shard_hash(std::string_view key) {
  uint32_t hash = 0x811c9dc5;
  for (char c : key) hash = (hash ^ static_cast<uint8_t>(c)) * 0x01000193;
  return hash;
}

Result<std::string> shard_bucket(const std::string& bucket, int index) {
  auto at = bucket.find('%');
  if (at == std::string::npos || bucket.compare(at, 2, "%d") != 0 || bucket.find('%', at + 1) != std::string::npos)
    return fail(EINVAL, "the bucket of a volume with shards must hold one %d: " + bucket);
  return bucket.substr(0, at) + std::to_string(index) + bucket.substr(at + 2);
}

namespace {

class Shards : public Storage {
 public:
  explicit Shards(std::vector<std::unique_ptr<Storage>> stores) : stores_(std::move(stores)) {}

  std::string describe() const override {
    return "shard" + std::to_string(stores_.size()) + "(" + stores_[0]->describe() + ")";
  }
  Limits limits() const override { return stores_[0]->limits(); }
  RequestCounts counts() const override {
    RequestCounts sum;
    for (auto& store : stores_) {
      auto one = store->counts();
      sum.hedges += one.hedges;
      sum.hedges_won += one.hedges_won;
    }
    return sum;
  }

  Result<void> create() override {
    for (auto& store : stores_) ZEST_TRY(store->create());
    return {};
  }
  Result<ObjectInfo> head(const std::string& key) override { return of(key).head(key); }
  Result<std::string> get(const std::string& key, uint64_t offset, uint64_t size) override {
    return of(key).get(key, offset, size);
  }
  Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer, SegmentSums* sums) override {
    return of(key).get_into(key, offset, buffer, sums);
  }
  Result<void> put(const std::string& key, std::string_view body, const Placement& where) override {
    return of(key).put(key, body, where);
  }
  Result<void> remove(const std::string& key) override {
    if (!key.ends_with('/')) return of(key).remove(key);
    for (auto& store : stores_) ZEST_TRY(store->remove(key));  // folders stand wherever something was below them
    return {};
  }

  Result<bool> restore(const std::string& key, int days) override { return of(key).restore(key, days); }

  Result<void> sync() override {
    for (auto& store : stores_) ZEST_TRY(store->sync());
    return {};
  }

  std::vector<std::pair<std::string, Error>> remove_many(std::span<const std::string> keys) override {
    std::vector<std::vector<std::string>> groups(stores_.size());
    for (const auto& key : keys) groups[shard_hash(key) % stores_.size()].push_back(key);
    std::vector<std::pair<std::string, Error>> failed;
    for (size_t i = 0; i < groups.size(); i++) {
      if (groups[i].empty()) continue;
      for (auto& one : stores_[i]->remove_many(groups[i])) failed.push_back(std::move(one));
    }
    return failed;
  }

  // Each shard gives the next few entries after the last key of the page before. What is certain is everything up to
  // the smallest "last key" among the shards that have more.
  Result<ListPage> list(const std::string& prefix, const std::string& after, const std::string& token, size_t limit,
                        const std::string& delimiter) override {
    const std::string& from = token.empty() ? after : token;
    size_t each = std::min(limit, limit * 2 / stores_.size() + 16);
    ListPage page;
    std::optional<std::string> certain;
    for (auto& store : stores_) {
      ZEST_ASSIGN(ListPage part, store->list(prefix, from, {}, each, delimiter));
      if (!part.next.empty() && !part.objects.empty()) {
        const std::string& last = part.objects.back().key;
        if (!certain || last < *certain) certain = last;
      }
      std::move(part.objects.begin(), part.objects.end(), std::back_inserter(page.objects));
    }
    auto by_key = [](const ObjectInfo& a, const ObjectInfo& b) { return a.key < b.key; };
    auto same_key = [](const ObjectInfo& a, const ObjectInfo& b) { return a.key == b.key; };
    std::sort(page.objects.begin(), page.objects.end(), by_key);
    // Folders stand on several shards.
    page.objects.erase(std::unique(page.objects.begin(), page.objects.end(), same_key), page.objects.end());
    bool more = certain.has_value();
    if (certain) std::erase_if(page.objects, [&](const ObjectInfo& object) { return object.key > *certain; });
    if (page.objects.size() > limit) {
      page.objects.resize(limit);
      more = true;
    }
    if (more && !page.objects.empty()) page.next = page.objects.back().key;
    return page;
  }

  Result<std::string> start_multipart(const std::string& key) override { return of(key).start_multipart(key); }
  Result<Part> put_part(const std::string& key, const std::string& upload, int number, std::string_view body) override {
    return of(key).put_part(key, upload, number, body);
  }
  Result<void> finish_multipart(const std::string& key, const std::string& upload,
                                std::span<const Part> parts) override {
    return of(key).finish_multipart(key, upload, parts);
  }
  Result<void> abort_multipart(const std::string& key, const std::string& upload) override {
    return of(key).abort_multipart(key, upload);
  }

 private:
  Storage& of(const std::string& key) { return *stores_[shard_hash(key) % stores_.size()]; }
  const std::vector<std::unique_ptr<Storage>> stores_;
};

}  // namespace

std::unique_ptr<Storage> with_shards(std::vector<std::unique_ptr<Storage>> stores) {
  return std::make_unique<Shards>(std::move(stores));
}

}  // namespace zest::object
