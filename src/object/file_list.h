// Lists the files below a root as keys in byte order. Holds the names of one folder for each level in memory.
#pragma once

#include <sys/stat.h>

#include <string>

#include "object/storage.h"

namespace zest::object {

// Keys that begin with `prefix` and are greater than `after`; folded: only one level, folders as entries ending '/'.
// Names that vanish meanwhile and folders that may not be read are left out.
Result<ListPage> list_files(const std::string& root, const std::string& prefix, const std::string& after, size_t limit,
                            bool folded);

ObjectInfo file_info(std::string key, const struct stat& st);

}  // namespace zest::object
