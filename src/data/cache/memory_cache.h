// A cache of blocks in this process's memory (--cache-dir memory, or no disk to use). Bounded by its own size.
#pragma once

#include <memory>

#include "base/clock.h"
#include "data/cache/block_cache.h"
#include "data/data.h"

namespace zest::data {

std::unique_ptr<BlockCache> make_memory_cache(uint64_t size_bytes, const CacheOptions& options, const Clock& clock,
                                              DataStats& stats);

}  // namespace zest::data
