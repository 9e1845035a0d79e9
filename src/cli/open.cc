#include "cli/open.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/log.h"

namespace zest::cli {

Result<std::unique_ptr<meta::Meta>> open_meta(const std::string& given, const meta::Options& options) {
  std::string url = given.find("://") == std::string::npos ? "redis://" + given : given;
  log_info("Meta address: " + mask_secrets(url));
  meta::EngineOptions engine_options;
  engine_options.read_only = options.read_only;
  engine_options.io_retries = options.io_retries;
  engine_options.sort_dir = options.sort_dir;
  ZEST_ASSIGN(auto engine, meta::open_engine(url, engine_options));
  // a server that cannot be reached is told at once; later, operations wait for it
  bool server = !url.starts_with("sqlite") && !url.starts_with("memkv");
  if (server) ZEST_TRY(engine->ping());
  return std::make_unique<meta::Meta>(std::move(engine), system_clock(), options);
}

Result<std::unique_ptr<meta::Meta>> open_volume(const std::string& url, const meta::Options& options) {
  ZEST_ASSIGN(auto opened, open_meta(url, options));
  auto format = opened->load();
  if (!format && format.error().code == ENOENT)
    return fail(ENOENT, fmt::format("{}: the database is not formatted, please run `zestfs format {} NAME` first",
                                    mask_secrets(url), mask_secrets(url)));
  if (!format) return fail(std::move(format.error()));
  return opened;
}

Result<std::unique_ptr<object::Storage>> open_volume_storage(const Format& format,
                                                             const object::StoreOptions& options) {
  const char* passphrase = getenv("JFS_RSA_PASSPHRASE");
  return object::open_volume_store(format, options, passphrase ? passphrase : "");
}

}  // namespace zest::cli
