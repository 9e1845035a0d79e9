// Which stores there are, and the order of a volume's stack, from the outside in:
// - limit: the bandwidth of what the caller moves;
// - encrypt: seals whole objects; sees keys without the prefix, to know the metadata backups;
// - prefix: "<volume name>/";
// - shard: picks the store by the whole key, prefix included;
// - retry: of single requests, for each store;
// - the store. The checksum of a body travels in a header of the request, so it is made and verified there.
#include "object/open.h"

#include <algorithm>
#include <random>
#include <utility>

#include "object/encrypt.h"
#include "object/file_store.h"
#include "object/limit.h"
#include "object/mem_store.h"
#include "object/prefix.h"
#include "object/retry.h"
#include "object/s3_store.h"
#include "object/shard.h"

namespace zest::object {
namespace {

Result<std::unique_ptr<Storage>> open_file_store(std::string bucket) {
  if (bucket.starts_with("file://")) bucket.erase(0, 7);
  if (bucket.empty()) return fail(EINVAL, "file storage: the bucket must be a folder");
  if (!bucket.ends_with('/')) bucket += '/';
  return make_file_store(std::move(bucket));
}

Result<std::unique_ptr<Storage>> open_s3_store(const std::string& name, const std::string& bucket,
                                               const Credentials& given, const StoreOptions& options) {
  bool minio = name == "minio";
  ZEST_ASSIGN(S3Target target, parse_s3_bucket(bucket, minio, &real_env));
  ZEST_ASSIGN(S3Credentials credentials, find_s3_credentials(given, minio, &real_env));
  RetryPolicy policy;
  policy.retries = options.retries;
  policy.get_deadline_ms = 2LL * options.get_timeout_ms;
  policy.put_deadline_ms = 2LL * options.put_timeout_ms;
  return with_retries(make_s3_store(std::move(target), std::move(credentials), options, name), policy, system_clock());
}

// The store, or one for each shard.
Result<std::unique_ptr<Storage>> open_base(const Format& format, const StoreOptions& options) {
  Credentials credentials{format.access_key, format.secret_key, format.session_token};
  if (format.shards <= 1) return open_store(format.storage, format.bucket, credentials, options);
  if (format.shards > 256) return fail(EINVAL, "more than 256 shards: " + std::to_string(format.shards));
  std::vector<std::unique_ptr<Storage>> stores;
  for (int i = 0; i < format.shards; i++) {
    ZEST_ASSIGN(std::string bucket, shard_bucket(format.bucket, i));
    ZEST_ASSIGN(auto store, open_store(format.storage, bucket, credentials, options));
    stores.push_back(std::move(store));
  }
  return with_shards(std::move(stores));
}

}  // namespace

std::vector<std::string> store_names() { return {"file", "mem", "minio", "s3"}; }

Result<std::unique_ptr<Storage>> open_store(const std::string& name, const std::string& bucket,
                                            const Credentials& credentials, const StoreOptions& options) {
  if (name == "s3" || name == "minio") return open_s3_store(name, bucket, credentials, options);
  if (name == "file") return open_file_store(bucket);
  if (name == "mem") return make_mem_store(bucket.empty() ? "mem" : bucket);
  return fail(EINVAL, "unknown object storage: " + name);
}

Result<std::unique_ptr<Storage>> open_volume_store(const Format& format, const StoreOptions& options,
                                                   const std::string& passphrase) {
  StoreOptions store_options = options;
  if (store_options.storage_class.empty()) store_options.storage_class = format.storage_class;
  if (auto tier = format.tiers.find(0); store_options.tag.empty() && tier != format.tiers.end())
    store_options.tag = tier->second.tag;
  ZEST_ASSIGN(auto store, open_base(format, store_options));
  store = with_prefix(std::move(store), format.name + "/");
  if (!format.encrypt_key.empty()) {
    ZEST_ASSIGN(auto envelope, Envelope::open(format.encrypt_key, passphrase, format.encrypt_algo));
    store = with_encryption(std::move(store), std::move(envelope));
  }
  constexpr int64_t kMbps = 1'000'000 / 8;
  int64_t upload = options.upload_limit > 0 ? options.upload_limit : format.upload_limit * kMbps;
  int64_t download = options.download_limit > 0 ? options.download_limit : format.download_limit * kMbps;
  if (upload > 0 || download > 0)
    store = with_limits(std::move(store), std::make_shared<Bandwidth>(upload, download, system_clock()));
  return store;
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
