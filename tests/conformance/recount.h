// Counts a volume anew from its tables and compares: the invariants that every operation must keep.
#pragma once

#include <string>
#include <vector>

#include "meta/txn.h"

namespace zest::conformance {

// What differs, in words; empty when all is well. Ledgers must have been flushed.
std::vector<std::string> recount(meta::Engine& engine);

}  // namespace zest::conformance
