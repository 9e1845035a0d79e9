// Reads what `etcdctl get --prefix KEY -w json` printed into a store in memory: a volume of a KV engine, opened without
// its server.
#pragma once

#include <string>

#include "meta/engine/kv/memory.h"

namespace zest::meta::kv {

// The volume's prefix ends with the first byte FD of the first key and is taken off. EINVAL for what is no such file.
Result<void> load_etcd_json(const std::string& file, MemoryStore& store);

}  // namespace zest::meta::kv
