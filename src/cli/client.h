// A volume with its data, as what serves it needs them: a mount, or a program that works on it without one.
#pragma once

#include <functional>
#include <memory>

#include "base/result.h"
#include "cli/mount_options.h"
#include "data/data.h"
#include "meta/api.h"
#include "object/replaceable.h"
#include "volume/format.h"

namespace zest::cli {

// Destroyed in the other order; whoever opened it detaches the hooks (Meta::set_data_hooks) before `data` goes.
struct Client {
  Format format;  // as stored
  std::unique_ptr<meta::Meta> meta;
  std::unique_ptr<data::Data> data;
  object::Replaceable* storage = nullptr;  // owned by `data`
};

// Opens the metadata, the storage with what the settings override, and the data on them. There is no session yet.
// `before_data`: called when all but the data, which takes possession of the cache folders, is known to work.
Result<Client> open_client(const MountSettings& settings,
                           const std::function<Result<void>(const Format&)>& before_data = {});

// The settings of the volume were changed while it is in use: another storage takes the place of the one that was used
// with `in_use`, which becomes `now`. One that cannot be opened is told in the log, and the old one stays.
void follow_format(const MountSettings& settings, Format& in_use, const Format& now, object::Replaceable& storage);

// Closes the session, if there is one, and the data; the first error.
Result<void> close_client(Client& client);

}  // namespace zest::cli
