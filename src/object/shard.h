// Spreads keys over several stores by a hash of the key (docs/format/objects.md section 8).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "object/storage.h"

namespace zest::object {

// FNV-1a, 32 bits, of the whole key, the volume's prefix included.
uint32_t shard_hash(std::string_view key);

// The bucket of shard `index`: "%d" replaced by it. EINVAL unless the text holds exactly one "%d" and no other '%'.
Result<std::string> shard_bucket(const std::string& bucket, int index);

// At least one store. Listings merge those of all stores; copying reads and writes.
std::unique_ptr<Storage> with_shards(std::vector<std::unique_ptr<Storage>> stores);

}  // namespace zest::object
