// From the records of a chunk to what it shows.
#pragma once

#include <memory>
#include <string>

#include "meta/state.h"

namespace zest::meta {

// Has the chunk compacted in the background where that is worth it. EIO: the records are broken.
Result<std::shared_ptr<const ChunkView>> view_chunk(State& state, Ino ino, ChunkIndex chunk, std::string_view records);

}  // namespace zest::meta
