// Objects in this process's memory, for tests.
#pragma once

#include <memory>
#include <string>

#include "object/storage.h"

namespace zest::object {

std::unique_ptr<Storage> make_mem_store(std::string name = "mem");

}  // namespace zest::object
