// Puts a prefix before every key: the volume's name, so that several volumes share a bucket.
#pragma once

#include <memory>
#include <string>

#include "object/storage.h"

namespace zest::object {

// `prefix` usually ends with '/'.
std::unique_ptr<Storage> with_prefix(std::unique_ptr<Storage> inner, std::string prefix);

}  // namespace zest::object
