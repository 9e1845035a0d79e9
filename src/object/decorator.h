// A storage that hands every call on to another one: what the decorators of the stack are derived from.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "object/storage.h"

namespace zest::object {

class Decorator : public Storage {
 public:
  explicit Decorator(std::unique_ptr<Storage> inner) : inner_(std::move(inner)) {}

  std::string describe() const override { return inner_->describe(); }
  Limits limits() const override { return inner_->limits(); }
  RequestCounts counts() const override { return inner_->counts(); }
  Result<void> create() override { return inner_->create(); }
  Result<ObjectInfo> head(const std::string& key) override { return inner_->head(key); }
  Result<std::string> get(const std::string& key, uint64_t offset = 0, uint64_t size = kToEnd) override {
    return inner_->get(key, offset, size);
  }
  Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer,
                          SegmentSums* sums = nullptr) override {
    return inner_->get_into(key, offset, buffer, sums);
  }
  Result<void> put(const std::string& key, std::string_view body, const Placement& where = {}) override {
    return inner_->put(key, body, where);
  }
  Result<void> copy(const std::string& dst, const std::string& src) override { return inner_->copy(dst, src); }
  Result<bool> restore(const std::string& key, int days) override { return inner_->restore(key, days); }
  Result<void> remove(const std::string& key) override { return inner_->remove(key); }
  Result<void> sync() override { return inner_->sync(); }
  std::vector<std::pair<std::string, Error>> remove_many(std::span<const std::string> keys) override {
    return inner_->remove_many(keys);
  }
  Result<ListPage> list(const std::string& prefix, const std::string& after, const std::string& token, size_t limit,
                        const std::string& delimiter = {}) override {
    return inner_->list(prefix, after, token, limit, delimiter);
  }
  Result<std::string> start_multipart(const std::string& key) override { return inner_->start_multipart(key); }
  Result<Part> put_part(const std::string& key, const std::string& upload, int number, std::string_view body) override {
    return inner_->put_part(key, upload, number, body);
  }
  Result<void> finish_multipart(const std::string& key, const std::string& upload,
                                std::span<const Part> parts) override {
    return inner_->finish_multipart(key, upload, parts);
  }
  Result<void> abort_multipart(const std::string& key, const std::string& upload) override {
    return inner_->abort_multipart(key, upload);
  }

 protected:
  std::unique_ptr<Storage> inner_;
};

}  // namespace zest::object
