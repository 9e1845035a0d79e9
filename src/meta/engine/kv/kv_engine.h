// The metadata engine over any key-value store (docs/format/tkv.md): records to keys and values, and back.
#pragma once

#include <memory>

#include "meta/engine/kv/store.h"
#include "meta/txn.h"

namespace zest::meta::kv {

std::unique_ptr<Engine> make_kv_engine(std::shared_ptr<Store> store);

}  // namespace zest::meta::kv
