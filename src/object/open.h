// Builds storages: a bare one by name, and the whole stack of a volume. The order of the stack stands in open.cc.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "object/storage.h"
#include "volume/format.h"

namespace zest::object {

struct Credentials {
  std::string access_key, secret_key, session_token;
};
struct StoreOptions {
  std::string storage_class, tag;
  int put_timeout_ms = 60'000, get_timeout_ms = 60'000;
  int retries = 10;  // of one request inside the store (5xx, throttling, resets), with jitter
  int64_t upload_limit = 0, download_limit = 0;  // bytes a second, 0: none
  int max_connections = 64;
};

// One store: "file", "mem", "s3", "minio". EINVAL for an unknown name or a bad bucket URL. Touches no network.
Result<std::unique_ptr<Storage>> open_store(const std::string& name, const std::string& bucket, const Credentials&,
                                            const StoreOptions&);
// The stack of a volume: store (or shards), prefix "<name>/", checksum, encryption, limits. Keys given to it are as
// block_key() makes them. passphrase: of the RSA key, from the environment.
Result<std::unique_ptr<Storage>> open_volume_store(const Format&, const StoreOptions&, const std::string& passphrase);
std::vector<std::string> store_names();

// put, get, get range, list, delete of a small object: what `format` does before it writes to the database.
Result<void> probe_store(Storage&);

}  // namespace zest::object
