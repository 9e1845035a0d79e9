// zestfs mount: a volume becomes a directory (docs/behaviour/cli.md, client.md).
#include <fmt/format.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "base/bytes.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/fstab.h"
#include "cli/mount_options.h"
#include "cli/mount_point.h"
#include "cli/supervisor.h"

namespace zest::cli {
namespace {

int64_t ready_timeout_ms() {
  const char* text = getenv("JFS_MOUNT_TIMEOUT");
  auto seconds = text ? parse_int(text) : std::nullopt;
  return seconds && *seconds > 0 ? *seconds * 1000 : 10'000;
}

// Buffers of connections and blocks go back to the system when they are freed: in the allocator's arenas, of which
// every few threads have one, they would leave holes as large as a fifth of --buffer-size.
constexpr int kMapFrom = 192 << 10;

int run_mount(MountOptions& options) {
  mallopt(M_MMAP_THRESHOLD, kMapFrom);
  auto settings = resolve(options);
  if (!settings) return complain("", settings.error());
  auto served = prepare_mount_point(settings->mount_point, options.force);
  if (!served) return complain("", served.error());
  if (options.update_fstab)
    if (auto updated = update_fstab(settings->url, settings->mount_point, globals().argv); !updated)
      log_warning("fstab: " + updated.error().message());
  if (options.no_huge_pages) prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  bool background = options.background && !options.foreground && !getenv("JFS_FOREGROUND");
  if (!background) {
    Starter nobody;
    return supervise(*settings, nobody, *served);
  }
  auto log_file = options.log_file.empty() ? default_log_file() : options.log_file;
  auto timeout_ms = ready_timeout_ms();
  int code = run_in_background(
      log_file, timeout_ms,
      fmt::format("The mount point is not ready in {} seconds, please check the log ({}) or re-mount in foreground",
                  timeout_ms / 1000, log_file),
      [&](Starter& starter) {
        auto log = globals().log;
        log.file = log_file;
        log.colour = false;
        log.syslog = !options.no_syslog;
        configure_log(log);
        return supervise(*settings, starter, *served);
      });
  if (code == 0) log_info(fmt::format("OK, the volume is ready at {}", settings->mount_point));
  return code;
}

}  // namespace

Runner setup_mount(CLI::App& app) {
  auto options = std::make_shared<MountOptions>();
  positionals(app, options->args, 2, 2);
  add_mount_options(app, *options);
  return [options] { return run_mount(*options); };
}

}  // namespace zest::cli
