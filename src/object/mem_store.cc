#include "object/mem_store.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

namespace zest::object {
namespace {

struct Blob {
  std::shared_ptr<const std::string> body;
  Time mtime;
  std::string storage_class;
};

class MemStore : public Storage {
 public:
  explicit MemStore(std::string name) : name_(std::move(name)) {}

  std::string describe() const override { return "mem://" + name_ + "/"; }
  Limits limits() const override { return {true, 1, 5ULL << 30, 10'000}; }
  Result<void> create() override { return {}; }

  Result<ObjectInfo> head(const std::string& key) override {
    std::lock_guard lock(mutex_);
    auto it = blobs_.find(key);
    if (it == blobs_.end()) return fail(ENOENT);
    return info(it->first, it->second);
  }

  Result<std::string> get(const std::string& key, uint64_t offset, uint64_t size) override {
    auto body = find(key);
    if (!body) return fail(ENOENT);
    if (offset >= body->size()) return std::string();
    return body->substr(offset, size);
  }

  Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer, SegmentSums* sums) override {
    if (sums) sums->clear();
    auto body = find(key);
    if (!body) return fail(ENOENT);
    if (offset >= body->size()) return size_t{0};
    return body->copy(buffer.data(), buffer.size(), offset);
  }

  Result<void> put(const std::string& key, std::string_view body, const Placement& where) override {
    if (key.empty()) return fail(EINVAL, "put: empty key");
    auto copy = std::make_shared<const std::string>(body);
    std::lock_guard lock(mutex_);
    blobs_[key] = {std::move(copy), system_clock().now(), where.storage_class};
    return {};
  }

  Result<void> copy(const std::string& dst, const std::string& src) override {
    std::lock_guard lock(mutex_);
    auto it = blobs_.find(src);
    if (it == blobs_.end()) return fail(ENOENT);
    Blob blob = it->second;
    blob.mtime = system_clock().now();
    blobs_[dst] = std::move(blob);
    return {};
  }

  Result<void> remove(const std::string& key) override {
    std::lock_guard lock(mutex_);
    blobs_.erase(key);
    return {};
  }

  Result<ListPage> list(const std::string& prefix, const std::string& after, const std::string& token, size_t limit,
                        const std::string& delimiter) override {
    if (!delimiter.empty() && delimiter != "/") return fail(ENOTSUP, "list: delimiter " + delimiter);
    ListPage page;
    if (limit == 0) return page;
    const std::string& from = token.empty() ? after : token;
    std::lock_guard lock(mutex_);
    auto it = std::max(prefix, from) == from && !from.empty() ? blobs_.upper_bound(from) : blobs_.lower_bound(prefix);
    while (it != blobs_.end() && it->first.starts_with(prefix)) {
      ObjectInfo object;
      auto slash = delimiter.empty() ? std::string::npos : it->first.find('/', prefix.size());
      if (slash == std::string::npos) {
        object = info(it->first, it->second);
        ++it;
      } else {
        object.key = it->first.substr(0, slash + 1);
        object.is_dir = true;
        it = blobs_.lower_bound(it->first.substr(0, slash) + static_cast<char>('/' + 1));
      }
      if (!from.empty() && object.key <= from) continue;  // a folder that an earlier page ended with
      if (page.objects.size() == limit) {
        page.next = page.objects.back().key;
        break;
      }
      page.objects.push_back(std::move(object));
    }
    return page;
  }

  Result<std::string> start_multipart(const std::string& key) override {
    if (key.empty()) return fail(EINVAL, "multipart: empty key");
    std::lock_guard lock(mutex_);
    auto id = std::to_string(++last_upload_);
    uploads_[{key, id}];
    return id;
  }

  Result<Part> put_part(const std::string& key, const std::string& upload, int number, std::string_view body) override {
    if (number < 1 || number > limits().max_parts) return fail(EINVAL, "part " + std::to_string(number) + " of " + key);
    std::lock_guard lock(mutex_);
    auto it = uploads_.find({key, upload});
    if (it == uploads_.end()) return fail(ENOENT, "no such upload: " + key);
    it->second[number] = std::string(body);
    return Part{number, std::to_string(std::hash<std::string_view>{}(body)), body.size()};
  }

  Result<void> finish_multipart(const std::string& key, const std::string& upload,
                                std::span<const Part> parts) override {
    std::lock_guard lock(mutex_);
    auto it = uploads_.find({key, upload});
    if (it == uploads_.end()) return fail(ENOENT, "no such upload: " + key);
    std::string body;
    int last = 0;
    for (const auto& part : parts) {
      auto found = it->second.find(part.number);
      if (part.number <= last || found == it->second.end()) return fail(EINVAL, "bad list of parts: " + key);
      last = part.number;
      body += found->second;
    }
    uploads_.erase(it);
    blobs_[key] = {std::make_shared<const std::string>(std::move(body)), system_clock().now(), {}};
    return {};
  }

  Result<void> abort_multipart(const std::string& key, const std::string& upload) override {
    std::lock_guard lock(mutex_);
    uploads_.erase({key, upload});
    return {};
  }

 private:
  static ObjectInfo info(const std::string& key, const Blob& blob) {
    return {key, blob.body->size(), blob.mtime, key.ends_with('/'), blob.storage_class};
  }
  std::shared_ptr<const std::string> find(const std::string& key) {
    std::lock_guard lock(mutex_);
    auto it = blobs_.find(key);
    return it == blobs_.end() ? nullptr : it->second.body;
  }

  const std::string name_;
  std::mutex mutex_;
  std::map<std::string, Blob> blobs_;
  std::map<std::pair<std::string, std::string>, std::map<int, std::string>> uploads_;
  uint64_t last_upload_ = 0;
};

}  // namespace

std::unique_ptr<Storage> make_mem_store(std::string name) { return std::make_unique<MemStore>(std::move(name)); }

}  // namespace zest::object
