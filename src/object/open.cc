// Which stores there are, and the order of a volume's stack. From the outside in:
//
//   limit     bandwidth; counts what goes over the wire, so it stands outside of nothing that changes sizes but
//   encryption encrypt   seals whole objects; must see plain keys to know the metadata backups prefix    "<volume
//   name>/" shard     picks the store by the whole key, prefix included retry     of single requests, per store store
//   the checksum of a body travels in its headers and is made and verified there
#include "object/open.h"

#include <algorithm>
#include <random>
#include <utility>

#include "object/file_store.h"
#include "object/mem_store.h"
#include "object/prefix.h"

namespace zest::object {
namespace {

Result<std::unique_ptr<Storage>> open_file_store(std::string bucket) {
  if (bucket.starts_with("file://")) bucket.erase(0, 7);
  if (bucket.empty()) return fail(EINVAL, "file storage: the bucket must be a folder");
  if (!bucket.ends_with('/')) bucket += '/';
  return make_file_store(std::move(bucket));
}

}  // namespace

std::vector<std::string> store_names() { return {"file", "mem"}; }

Result<std::unique_ptr<Storage>> open_store(const std::string& name, const std::string& bucket, const Credentials&,
                                            const StoreOptions&) {
  if (name == "file") return open_file_store(bucket);
  if (name == "mem") return make_mem_store(bucket.empty() ? "mem" : bucket);
  return fail(EINVAL, "unknown object storage: " + name);
}

Result<std::unique_ptr<Storage>> open_volume_store(const Format& format, const StoreOptions& options,
                                                   const std::string&) {
  ZEST_ASSIGN(auto store, open_store(format.storage, format.bucket,
                                     {format.access_key, format.secret_key, format.session_token}, options));
  return with_prefix(std::move(store), format.name + "/");
}

namespace {

std::string random_text(size_t length, std::string_view letters) {
  std::random_device source;
  std::string text(length, ' ');
  for (char& c : text) c = letters[source() % letters.size()];
  return text;
}

}  // namespace

Result<void> probe_store(Storage& store) {
  const std::string letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  const std::string key = "testing/" + random_text(10, letters);
  std::string body = random_text(100, letters);
  if (auto done = store.put(key, body); !done) {
    // The bucket may not be there yet.
    ZEST_TRY(store.create());
    ZEST_TRY(store.put(key, body));
  }
  auto check = [&]() -> Result<void> {
    ZEST_ASSIGN(std::string whole, store.get(key));
    if (whole != body) return fail(EIO, "probe " + key + ": read back other bytes than were written");
    ZEST_ASSIGN(std::string part, store.get(key, 10, 20));
    if (part != body.substr(10, 20)) return fail(EIO, "probe " + key + ": a ranged read gave other bytes");
    ZEST_ASSIGN(ListPage page, store.list(key, {}, {}, 10));
    if (page.objects.empty() || page.objects[0].key != key)
      return fail(EIO, "probe " + key + ": written, but not listed");
    return {};
  };
  auto checked = check();
  auto removed = store.remove(key);
  ZEST_TRY(std::move(checked));
  ZEST_TRY(std::move(removed));
  // What file-like stores keep of the folder; elsewhere there is no such object, which is fine.
  (void)store.remove("testing/");
  return {};
}

}  // namespace zest::object
