#include "object/replaceable.h"

namespace zest::object {

std::shared_ptr<Storage> Replaceable::current() const {
  std::lock_guard lock(mutex_);
  return current_;
}

void Replaceable::replace(std::unique_ptr<Storage> storage) {
  std::lock_guard lock(mutex_);
  before_ = std::exchange(current_, std::move(storage));
  const RequestCounts counts = before_->counts();
  counted_.hedges += counts.hedges;
  counted_.hedges_won += counts.hedges_won;
}

RequestCounts Replaceable::counts() const {
  std::lock_guard lock(mutex_);
  const RequestCounts counts = current_->counts();
  return {counted_.hedges + counts.hedges, counted_.hedges_won + counts.hedges_won};
}

Result<void> Replaceable::sync() {
  std::shared_ptr<Storage> current, before;
  {
    std::lock_guard lock(mutex_);
    current = current_, before = before_;
  }
  if (before) ZEST_TRY(before->sync());
  return current->sync();
}

std::string Replaceable::describe() const { return current()->describe(); }
Limits Replaceable::limits() const { return current()->limits(); }
Result<void> Replaceable::create() { return current()->create(); }
Result<ObjectInfo> Replaceable::head(const std::string& key) { return current()->head(key); }
Result<std::string> Replaceable::get(const std::string& key, uint64_t offset, uint64_t size) {
  return current()->get(key, offset, size);
}
Result<size_t> Replaceable::get_into(const std::string& key, uint64_t offset, std::span<char> buffer,
                                     SegmentSums* sums) {
  return current()->get_into(key, offset, buffer, sums);
}
Result<void> Replaceable::put(const std::string& key, std::string_view body, const Placement& where) {
  return current()->put(key, body, where);
}
Result<void> Replaceable::copy(const std::string& dst, const std::string& src) { return current()->copy(dst, src); }
Result<bool> Replaceable::restore(const std::string& key, int days) { return current()->restore(key, days); }
Result<void> Replaceable::remove(const std::string& key) { return current()->remove(key); }
std::vector<std::pair<std::string, Error>> Replaceable::remove_many(std::span<const std::string> keys) {
  return current()->remove_many(keys);
}
Result<ListPage> Replaceable::list(const std::string& prefix, const std::string& after, const std::string& token,
                                   size_t limit, const std::string& delimiter) {
  return current()->list(prefix, after, token, limit, delimiter);
}
Result<std::string> Replaceable::start_multipart(const std::string& key) { return current()->start_multipart(key); }
Result<Part> Replaceable::put_part(const std::string& key, const std::string& upload, int number,
                                   std::string_view body) {
  return current()->put_part(key, upload, number, body);
}
Result<void> Replaceable::finish_multipart(const std::string& key, const std::string& upload,
                                           std::span<const Part> parts) {
  return current()->finish_multipart(key, upload, parts);
}
Result<void> Replaceable::abort_multipart(const std::string& key, const std::string& upload) {
  return current()->abort_multipart(key, upload);
}

}  // namespace zest::object
