// A storage whose place another one can take while it is used: after a change of a volume's bucket, keys or limits.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "object/storage.h"

namespace zest::object {

// Calls go to the storage of the moment when they begin, and keep it alive until they end.
class Replaceable : public Storage {
 public:
  explicit Replaceable(std::unique_ptr<Storage> storage) : current_(std::move(storage)) {}
  void replace(std::unique_ptr<Storage> storage);

  std::string describe() const override;
  Limits limits() const override;
  RequestCounts counts() const override;  // of all that had the place
  Result<void> create() override;
  Result<ObjectInfo> head(const std::string& key) override;
  Result<std::string> get(const std::string& key, uint64_t offset, uint64_t size) override;
  Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer, SegmentSums* sums) override;
  Result<void> put(const std::string& key, std::string_view body, const Placement& where) override;
  Result<void> copy(const std::string& dst, const std::string& src) override;
  Result<bool> restore(const std::string& key, int days) override;
  Result<void> remove(const std::string& key) override;
  Result<void> sync() override;  // of the one before, too: what it answered may not be durable yet
  std::vector<std::pair<std::string, Error>> remove_many(std::span<const std::string> keys) override;
  Result<ListPage> list(const std::string& prefix, const std::string& after, const std::string& token, size_t limit,
                        const std::string& delimiter) override;
  // An upload in parts belongs to the storage that it began on: one that lasts over a replacement fails.
  Result<std::string> start_multipart(const std::string& key) override;
  Result<Part> put_part(const std::string& key, const std::string& upload, int number, std::string_view body) override;
  Result<void> finish_multipart(const std::string& key, const std::string& upload,
                                std::span<const Part> parts) override;
  Result<void> abort_multipart(const std::string& key, const std::string& upload) override;

 private:
  std::shared_ptr<Storage> current() const;

  mutable std::mutex mutex_;
  std::shared_ptr<Storage> current_, before_;
  RequestCounts counted_;  // before `current_`
};

}  // namespace zest::object
