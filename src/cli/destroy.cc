// zestfs destroy: removes a volume's objects and metadata (docs/behaviour/cli.md).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/log.h"
#include "base/threads.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/terminal.h"

namespace zest::cli {
namespace {

struct DestroyCommand {
  std::vector<std::string> args;
  bool yes = false, force = false;

  int run();
  bool nobody_connected(meta::Meta& meta);
  bool agreed(meta::Meta& meta, object::Storage& store);
  Result<void> delete_objects(object::Storage& store);
};

bool DestroyCommand::nobody_connected(meta::Meta& meta) {
  if (auto cleaned = meta.clean_stale_sessions(); !cleaned)
    return complain("cannot clean up expired sessions", cleaned.error()), false;
  auto sessions = meta.sessions(false);
  if (!sessions) return complain("cannot list sessions", sessions.error()), false;
  if (sessions->empty()) return true;
  std::vector<std::vector<std::string>> rows{{"SID", "HostName", "MountPoint"}};
  for (auto& s : *sessions) rows.push_back({std::to_string(s.sid), s.info.host, s.info.mount_point});
  complain(fmt::format("{} sessions are active, please disconnect them first:\n{}", sessions->size(), table(rows)));
  return false;
}

bool DestroyCommand::agreed(meta::Meta& meta, object::Storage& store) {
  auto usage = meta.statfs({}, kRootIno);
  auto format = meta.format();
  fmt::print(" volume name: {}\n volume UUID: {}\ndata storage: {}\n", format.name, format.uuid, store.describe());
  if (usage)
    fmt::print("  used bytes: {}\n used inodes: {}\n", usage->total_space - usage->avail_space, usage->used_inodes);
  warn_user("The target volume will be permanently destroyed, including:");
  warn_user("1. ALL objects in the data storage: " + store.describe());
  warn_user("2. ALL entries in the metadata engine: " + mask_secrets(args[0]));
  return yes || confirm();
}

Result<void> DestroyCommand::delete_objects(object::Storage& store) {
  std::atomic<uint64_t> deleted{0}, failed{0};
  std::vector<std::string> folders;
  Progress progress("Deleted objects", &deleted, nullptr);
  {
    ThreadPool pool("destroy", 8, 64);
    std::vector<std::string> batch;
    auto submit = [&] {
      if (batch.empty()) return;
      pool.submit([&, keys = std::move(batch)] {
        auto errors = store.remove_many(keys);
        for (auto& [key, error] : errors) log_warning(fmt::format("cannot delete {}: {}", key, error.message()));
        failed += errors.size();
        deleted += keys.size() - errors.size();
      });
      batch.clear();
    };
    auto listed = object::list_all(store, "", [&](const object::ObjectInfo& object) {
      if (object.is_dir) {
        folders.push_back(object.key);
        return true;
      }
      batch.push_back(object.key);
      if (batch.size() == 500) submit();
      return true;
    });
    submit();
    pool.drain();
    if (!listed) return listed;
  }
  std::sort(folders.rbegin(), folders.rend());
  for (auto& folder : folders)
    if (auto removed = store.remove(folder); !removed) log_debug("cannot remove folder " + folder);
  if (auto removed = object::remove_folders(store, ""); !removed)
    log_debug("cannot remove empty folders: " + removed.error().message());
  log_info(fmt::format("Deleted {} objects", deleted.load()));
  if (failed) log_error(fmt::format("{} objects are failed to delete, please do it manually.", failed.load()));
  return {};
}

int DestroyCommand::run() {
  auto opened = open_volume(args[0], {});
  if (!opened) return complain("", opened.error());
  auto& meta = **opened;
  auto format = meta.format();
  if (format.uuid != args[1]) return complain(fmt::format("UUID {} != expected {}", args[1], format.uuid));
  auto store = open_volume_storage(format);
  if (!store) return complain("cannot open the storage", store.error());
  if (!force) {
    if (!nobody_connected(meta)) return 1;
    if (!agreed(meta, **store)) return complain("Aborted.");
  }
  if (auto deleted = delete_objects(**store); !deleted) return complain("cannot list the objects", deleted.error());
  if (auto reset = meta.reset(); !reset) return complain("cannot remove the metadata", reset.error());
  log_info("The volume has been destroyed! You may need to delete cache directory manually.");
  return 0;
}

}  // namespace

Runner setup_destroy(CLI::App& app) {
  auto command = std::make_shared<DestroyCommand>();
  positionals(app, command->args, 2, 2);
  app.add_flag("--yes,-y", command->yes, "do not ask");
  app.add_flag("--force", command->force, "neither ask nor look for connected clients");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
