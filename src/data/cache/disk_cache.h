// A cache of blocks on local disks, in the layout of docs/format/cache.md, with write-back staging.
#pragma once

#include <memory>

#include "base/clock.h"
#include "data/cache/block_cache.h"
#include "data/data.h"
#include "volume/format.h"

namespace zest::data {

// Null when no directory can be used.
std::unique_ptr<BlockCache> make_disk_cache(const DataOptions& options, const Format& format, const Clock& clock,
                                            DataStats& stats);

}  // namespace zest::data
