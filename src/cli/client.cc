#include "cli/client.h"

#include <fmt/format.h>

#include "base/log.h"
#include "cli/open.h"

namespace zest::cli {

Result<Client> open_client(const MountSettings& settings) {
  Client client;
  ZEST_ASSIGN(client.meta, open_volume(settings.url, settings.meta));
  client.format = client.meta->format();
  Format effective = client.format;
  if (settings.storage) effective.storage = *settings.storage;
  if (settings.bucket) effective.bucket = *settings.bucket;
  if (settings.storage_class) effective.storage_class = *settings.storage_class;
  auto store = settings.store;
  store.storage_class = effective.storage_class;
  store.upload_limit = settings.upload_limit.value_or(client.format.upload_limit * 1'000'000 / 8);
  store.download_limit = settings.download_limit.value_or(client.format.download_limit * 1'000'000 / 8);
  store.max_connections = settings.data.max_uploads + settings.data.max_downloads;
  ZEST_ASSIGN(auto storage, open_volume_storage(effective, store));
  log_info(fmt::format("Data use {}", storage->describe()));
  if (settings.check_storage) ZEST_TRY(object::probe_store(*storage));
  ZEST_ASSIGN(client.data, data::Data::open(*client.meta, std::move(storage), system_clock(), settings.data));
  client.meta->set_data_hooks(client.data.get());
  return client;
}

Result<void> close_client(Client& client) {
  Result<void> result;
  // Ending the session ends its jobs, which work on data.
  if (client.meta) result = client.meta->close_session();
  if (client.data)
    if (auto closed = client.data->close(); !closed && result) result = std::move(closed);
  if (client.meta) client.meta->set_data_hooks(nullptr);
  client.data.reset();
  client.meta.reset();
  return result;
}

}  // namespace zest::cli
