// Opens what a command works on, with the messages that people see when it cannot be.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "meta/api.h"
#include "object/open.h"
#include "object/storage.h"

namespace zest::cli {

// A Meta on the database, not loaded: for format. "redis://" is put before a URL without scheme.
Result<std::unique_ptr<meta::Meta>> open_meta(const std::string& url, const meta::Options& options);
// The same, with the volume's settings loaded and the version gates checked.
Result<std::unique_ptr<meta::Meta>> open_volume(const std::string& url, const meta::Options& options);
// The volume's stack of storages; the passphrase of an encrypted volume comes from JFS_RSA_PASSPHRASE.
Result<std::unique_ptr<object::Storage>> open_volume_storage(const Format& format,
                                                             const object::StoreOptions& options = {});

}  // namespace zest::cli
