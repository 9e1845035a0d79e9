#include "object/storage.h"

#include <algorithm>
#include <cstring>

namespace zest::object {

Result<size_t> Storage::get_into(const std::string& key, uint64_t offset, std::span<char> buffer, SegmentSums* sums) {
  if (sums) sums->clear();
  ZEST_ASSIGN(std::string body, get(key, offset, buffer.size()));
  if (body.size() > buffer.size()) return fail(EIO, "get " + key + ": more bytes than were asked for");
  std::memcpy(buffer.data(), body.data(), body.size());
  return body.size();
}

Result<void> Storage::copy(const std::string& dst, const std::string& src) {
  ZEST_ASSIGN(std::string body, get(src));
  return put(dst, body);
}

Result<bool> Storage::restore(const std::string&, int) { return fail(ENOTSUP); }

std::vector<std::pair<std::string, Error>> Storage::remove_many(std::span<const std::string> keys) {
  std::vector<std::pair<std::string, Error>> failed;
  for (const auto& key : keys)
    if (auto done = remove(key); !done) failed.emplace_back(key, std::move(done.error()));
  return failed;
}

Result<std::string> Storage::start_multipart(const std::string&) { return fail(ENOTSUP); }
Result<Part> Storage::put_part(const std::string&, const std::string&, int, std::string_view) { return fail(ENOTSUP); }
Result<void> Storage::finish_multipart(const std::string&, const std::string&, std::span<const Part>) {
  return fail(ENOTSUP);
}
Result<void> Storage::abort_multipart(const std::string&, const std::string&) { return fail(ENOTSUP); }

Result<void> list_all(Storage& storage, const std::string& prefix, const std::function<bool(const ObjectInfo&)>& each,
                      const std::string& after) {
  std::string token, last = after;
  do {
    ZEST_ASSIGN(ListPage page, storage.list(prefix, after, token, 1000));
    for (const auto& object : page.objects) {
      // A listing that runs backwards would make gc and destroy miss objects, or never end.
      if (!last.empty() && object.key <= last)
        return fail(EIO, "list " + prefix + ": " + object.key + " came after " + last);
      last = object.key;
      if (!each(object)) return {};
    }
    if (!page.next.empty() && page.next == token) return fail(EIO, "list " + prefix + ": the same page came twice");
    token = std::move(page.next);
  } while (!token.empty());
  return {};
}

Result<void> remove_folders(Storage& storage, const std::string& prefix) {
  std::string token;
  do {
    ZEST_ASSIGN(ListPage page, storage.list(prefix, {}, token, 1000, "/"));
    for (const auto& entry : page.objects)
      if (entry.is_dir && entry.key != prefix) ZEST_TRY(remove_folders(storage, entry.key));
    token = std::move(page.next);
  } while (!token.empty());
  return storage.remove(prefix);
}

}  // namespace zest::object
