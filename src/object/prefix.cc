#include "object/prefix.h"

#include <utility>

#include "object/decorator.h"

namespace zest::object {
namespace {

class Prefix : public Decorator {
 public:
  Prefix(std::unique_ptr<Storage> inner, std::string prefix)
      : Decorator(std::move(inner)), prefix_(std::move(prefix)) {}

  std::string describe() const override { return inner_->describe() + prefix_; }
  Result<ObjectInfo> head(const std::string& key) override {
    ZEST_ASSIGN(ObjectInfo info, inner_->head(prefix_ + key));
    if (!strip(info)) return fail(EIO, "head " + key + ": answer for another key");
    return info;
  }
  Result<std::string> get(const std::string& key, uint64_t offset, uint64_t size) override {
    return inner_->get(prefix_ + key, offset, size);
  }
  Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer, SegmentSums* sums) override {
    return inner_->get_into(prefix_ + key, offset, buffer, sums);
  }
  Result<void> put(const std::string& key, std::string_view body, const Placement& where) override {
    if (key.empty()) return fail(EINVAL, "put: empty key");
    return inner_->put(prefix_ + key, body, where);
  }
  Result<void> copy(const std::string& dst, const std::string& src) override {
    return inner_->copy(prefix_ + dst, prefix_ + src);
  }
  Result<bool> restore(const std::string& key, int days) override { return inner_->restore(prefix_ + key, days); }
  Result<void> remove(const std::string& key) override { return inner_->remove(prefix_ + key); }
  std::vector<std::pair<std::string, Error>> remove_many(std::span<const std::string> keys) override {
    std::vector<std::string> full;
    full.reserve(keys.size());
    for (const auto& key : keys) full.push_back(prefix_ + key);
    auto failed = inner_->remove_many(full);
    for (auto& [key, error] : failed) key.erase(0, prefix_.size());
    return failed;
  }
  Result<ListPage> list(const std::string& prefix, const std::string& after, const std::string& token, size_t limit,
                        const std::string& delimiter) override {
    ZEST_ASSIGN(ListPage page,
                inner_->list(prefix_ + prefix, after.empty() ? after : prefix_ + after, token, limit, delimiter));
    for (auto& object : page.objects)
      if (!strip(object)) return fail(EIO, "list " + prefix + ": got a key outside of it");
    // The marker object of the prefix itself is none of ours.
    std::erase_if(page.objects, [](const ObjectInfo& object) { return object.key.empty(); });
    return page;
  }
  Result<std::string> start_multipart(const std::string& key) override {
    return inner_->start_multipart(prefix_ + key);
  }
  Result<Part> put_part(const std::string& key, const std::string& upload, int number, std::string_view body) override {
    return inner_->put_part(prefix_ + key, upload, number, body);
  }
  Result<void> finish_multipart(const std::string& key, const std::string& upload,
                                std::span<const Part> parts) override {
    return inner_->finish_multipart(prefix_ + key, upload, parts);
  }
  Result<void> abort_multipart(const std::string& key, const std::string& upload) override {
    return inner_->abort_multipart(prefix_ + key, upload);
  }

 private:
  bool strip(ObjectInfo& info) const {
    if (!info.key.starts_with(prefix_)) return false;
    info.key.erase(0, prefix_.size());
    return true;
  }
  const std::string prefix_;
};

}  // namespace

std::unique_ptr<Storage> with_prefix(std::unique_ptr<Storage> inner, std::string prefix) {
  return std::make_unique<Prefix>(std::move(inner), std::move(prefix));
}

}  // namespace zest::object
