#include "cli/client.h"

#include <fmt/format.h>

#include <tuple>

#include "base/log.h"
#include "cli/open.h"

namespace zest::cli {

namespace {

// The storage of a volume with what the settings override.
Result<std::unique_ptr<object::Storage>> open_storage(const MountSettings& settings, const Format& format) {
  Format effective = format;
  if (settings.storage) effective.storage = *settings.storage;
  if (settings.bucket) effective.bucket = *settings.bucket;
  if (settings.storage_class) effective.storage_class = *settings.storage_class;
  auto store = settings.store;
  store.storage_class = effective.storage_class;
  if (settings.tag) store.tag = *settings.tag;
  store.upload_limit = settings.upload_limit.value_or(format.upload_limit * 1'000'000 / 8);
  store.download_limit = settings.download_limit.value_or(format.download_limit * 1'000'000 / 8);
  store.max_connections = settings.data.max_uploads + settings.data.max_downloads;
  ZEST_ASSIGN(auto storage, open_volume_storage(effective, store));
  log_info(fmt::format("Data use {}", storage->describe()));
  return storage;
}

bool same_storage(const Format& a, const Format& b) {
  auto parts = [](const Format& f) {
    return std::tie(f.storage, f.bucket, f.access_key, f.secret_key, f.session_token, f.storage_class, f.upload_limit,
                    f.download_limit);
  };
  auto tag = [](const Format& f) {
    auto tier = f.tiers.find(0);
    return tier == f.tiers.end() ? std::string() : tier->second.tag;
  };
  return parts(a) == parts(b) && tag(a) == tag(b);
}

}  // namespace

Result<Client> open_client(const MountSettings& settings,
                           const std::function<Result<void>(const Format&)>& before_data) {
  Client client;
  ZEST_ASSIGN(client.meta, open_volume(settings.url, settings.meta));
  client.format = client.meta->format();
  ZEST_ASSIGN(auto opened, open_storage(settings, client.format));
  if (settings.check_storage) ZEST_TRY(object::probe_store(*opened));
  auto storage = std::make_unique<object::Replaceable>(std::move(opened));
  client.storage = storage.get();
  if (before_data) ZEST_TRY(before_data(client.format));
  ZEST_ASSIGN(client.data, data::Data::open(*client.meta, std::move(storage), system_clock(), settings.data));
  client.meta->set_data_hooks(client.data.get());
  return client;
}

void follow_format(const MountSettings& settings, Format& in_use, const Format& now, object::Replaceable& storage) {
  const bool same = same_storage(in_use, now);
  in_use = now;
  if (same) return;
  auto opened = open_storage(settings, now);
  if (opened)
    storage.replace(std::move(*opened));
  else
    log_error("the storage settings have changed, but cannot be used: " + mask_secrets(opened.error().message()));
}

Result<void> close_client(Client& client) {
  Result<void> result;
  // Ending the session ends its jobs, which work on data; without one, what is counted must be written all the same.
  if (client.meta) result = client.meta->flush_ledgers();
  if (client.meta)
    if (auto closed = client.meta->close_session(); !closed && result) result = std::move(closed);
  if (client.data)
    if (auto closed = client.data->close(); !closed && result) result = std::move(closed);
  if (client.meta) client.meta->set_data_hooks(nullptr);
  client.data.reset();
  client.meta.reset();
  return result;
}

}  // namespace zest::cli
