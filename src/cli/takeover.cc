#include "cli/takeover.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/mount_files.h"
#include "fs/state_table.h"

namespace zest::cli {
namespace {

constexpr int64_t kDrainPatienceMs = 90'000;  // longer than the old process needs to give up
constexpr int64_t kGoPatienceMs = 10'000;

std::string busy(const std::string& point, const std::string& why) {
  return fmt::format("a volume is already mounted on {}: unmount it first (zestfs umount {}); not taken over: {}",
                     point, point, why);
}

// The process id of the supervisor; 0: none is told.
Result<int> supervisor_of(const std::string& point) {
  const auto config = read_mount_config(point);
  if (config.contains("PPid") && config["PPid"].is_number_integer()) return config["PPid"].get<int>();
  return fail(EBUSY, busy(point, "its .config cannot be read"));
}

}  // namespace

std::string supervisor_address(int pid) { return fmt::format("zestfs/supervisor/{}", pid); }

std::string mount_identity(const MountSettings& settings, const Format& format) {
  auto& f = settings.fuse;
  auto options = f.mount_options;
  std::sort(options.begin(), options.end());
  nlohmann::ordered_json out;
  out["uuid"] = format.uuid;
  out["subdir"] = settings.meta.subdir;
  out["read-only"] = settings.meta.read_only;
  out["-o"] = options;
  out["allow_other"] = f.allow_other;
  out["default_permissions"] = f.default_permissions;
  out["writeback_cache"] = f.writeback_cache;
  out["async_dio"] = f.async_dio;
  out["max-fuse-io"] = f.max_io;
  out["enable-xattr"] = f.enable_xattr;
  out["enable-ioctl"] = f.enable_ioctl;
  out["umask"] = f.umask != 0xFFFF;
  out["prefix-internal"] = settings.fs.prefix_internal;
  return out.dump();
}

Result<Takeover> take_over(const std::string& point, const std::string& identity) {
  ZEST_ASSIGN(int pid, supervisor_of(point));
  auto connection = connect_abstract(supervisor_address(pid));
  if (!connection) return fail(EBUSY, busy(point, "nobody there hands it over"));
  ZEST_ASSIGN(auto peer, peer_of(connection->get()));
  if (peer.pid != pid || peer.uid != getuid()) return fail(EBUSY, busy(point, "it belongs to another user"));
  ZEST_TRY(send_message(connection->get(), kTakeOver + fs::StateTable::layout() + "\n" + identity));
  auto answer = receive_message(connection->get(), kDrainPatienceMs);
  if (!answer) return fail(EBUSY, busy(point, answer.error().message()));
  if (answer->text.starts_with(kRefused))
    return fail(EBUSY, busy(point, answer->text.substr(std::string_view(kRefused).size())));
  if (answer->text != kYours || answer->files.size() != 2)
    return fail(EBUSY, busy(point, "an answer of another version"));
  return Takeover{std::move(*connection), std::move(answer->files[0]), std::move(answer->files[1])};
}

Result<void> settle_takeover(const Takeover& takeover) {
  ZEST_TRY(send_message(takeover.connection.get(), kServing));
  ZEST_ASSIGN(auto answer, receive_message(takeover.connection.get(), kGoPatienceMs));
  if (answer.text != kGo) return fail(EBUSY, "the old process keeps the mount");
  return {};
}

}  // namespace zest::cli
