// What a compaction that nobody asked for does with the slices of a chunk in use.
#pragma once

#include <vector>

#include "volume/slice.h"

namespace zest {

// Other than plan_compaction() it leaves alone every long slice at the front, and a shorter one that is twice as long
// as all that follows, so that a log is not written again for every hundred lines. It rewrites much for little only
// when the list is long.
CompactionPlan plan_thrifty_compaction(const std::vector<Slice>& records);

}  // namespace zest
