// Seals every body (docs/format/objects.md section 5). No random access: a ranged read fetches the whole object. Sizes
// of head and list are the stored ones. No multipart: its parts would go out in the clear.
#pragma once

#include <memory>

#include "object/envelope.h"
#include "object/storage.h"

namespace zest::object {

std::unique_ptr<Storage> with_encryption(std::unique_ptr<Storage> inner, std::shared_ptr<const Envelope> envelope);

}  // namespace zest::object
