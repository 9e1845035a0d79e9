// Objects as files of a folder (docs/format/objects.md 13.1).
//
// A put writes the file under a temporary name and renames it; sync() makes files and folders durable. Folders stay
// when their last object is removed; remove("a/b/") removes an empty one. A listing without delimiter gives files only.
// A name that is a folder is no object: head and get without the trailing '/' give ENOENT.
#pragma once

#include <memory>
#include <string>

#include "object/storage.h"

namespace zest::object {

// `root` ends with '/' for a folder; otherwise its last part begins the names of the objects.
std::unique_ptr<Storage> make_file_store(std::string root);

}  // namespace zest::object
