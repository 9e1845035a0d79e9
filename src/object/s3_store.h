// Objects in S3 and what speaks its protocol (docs/format/objects.md section 16).
//
// One request a call, never repeated here (open.cc puts retries around it), except that a bucket in another region is
// followed once. Errors name the request, the key and the request id.
#pragma once

#include <memory>

#include "object/open.h"
#include "object/s3_target.h"
#include "object/storage.h"

namespace zest::object {

std::unique_ptr<Storage> make_s3_store(S3Target target, S3Credentials credentials, const StoreOptions& options,
                                       std::string scheme_name);

}  // namespace zest::object
