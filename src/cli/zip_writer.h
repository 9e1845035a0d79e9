// Packs a folder as a .zip beside it.
#pragma once

#include <string>

#include "base/result.h"

namespace zest::cli {

// Every regular file below `folder`, by its name relative to the folder's parent, deflated, into `archive`.
Result<void> zip_folder(const std::string& folder, const std::string& archive);

}  // namespace zest::cli
