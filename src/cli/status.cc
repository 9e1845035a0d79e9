// zestfs status: settings, sessions and usage as JSON (docs/behaviour/cli.md).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/command.h"
#include "cli/open.h"

namespace zest::cli {
namespace {

using Json = nlohmann::ordered_json;

struct StatusCommand {
  std::vector<std::string> args;
  uint64_t sid = 0;
  bool more = false;

  int run();
  int show_session(meta::Meta& meta);
};

Json session_json(const meta::Session& s) {
  Json out;
  out["Sid"] = s.sid;
  out["Expire"] = format_rfc3339(s.expire, 0, false);
  out["Version"] = s.info.version;
  out["HostName"] = s.info.host;
  if (!s.info.addresses.empty()) out["IPAddrs"] = s.info.addresses;
  out["MountPoint"] = s.info.mount_point;
  out["MountTime"] = format_rfc3339(s.info.mount_time.sec, s.info.mount_time.nsec, false);
  out["ProcessID"] = s.info.pid;
  return out;
}

std::string to_text(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace); }

int StatusCommand::show_session(meta::Meta& meta) {
  auto all = meta.sessions(true);
  if (!all) return complain("get session", all.error());
  for (auto& session : *all) {
    if (session.sid != sid) continue;
    Json out = session_json(session);
    for (auto ino : session.sustained) out["Sustained"].push_back(raw(ino));
    for (auto& lock : session.locks) {
      Json item{{"Inode", raw(lock.ino)}, {"Owner", lock.owner}};
      if (lock.flock) {
        item["Ltype"] = std::string(1, lock.flock);
        out["Flocks"].push_back(item);
        continue;
      }
      for (auto& range : lock.ranges)
        item["Records"].push_back(Json{{"Type", static_cast<uint32_t>(range.type)},
                                       {"Pid", range.pid},
                                       {"Start", range.start},
                                       {"End", range.end}});
      out["Plocks"].push_back(item);
    }
    fmt::print("{}\n", to_text(out));
    return 0;
  }
  return complain(fmt::format("get session: session not found: {}", sid));
}

// What waits to be deleted, and what the trash holds.
Result<void> add_waiting(meta::Meta& meta, Json& stat) {
  uint64_t files = 0, bytes = 0, slices = 0, slice_bytes = 0, pending = 0, pending_bytes = 0, deleted = 0,
           deleted_bytes = 0;
  auto& engine = meta.engine();
  meta::Context root;
  if (meta.options().subdir.empty()) {
    if (auto sum = meta.summary(root, kTrashIno, true, true)) files = sum->files, bytes = sum->space;
  }
  ZEST_TRY(engine.scan(meta::Table::kDelFiles, 0, [&](const meta::Key& key, const meta::Value&) {
    deleted++, deleted_bytes += static_cast<uint64_t>(charged_space(key.b));
    return true;
  }));
  ZEST_TRY(engine.scan(meta::Table::kDelSlicesTable, 0, [&](const meta::Key&, const meta::Value& value) {
    if (auto* records = std::get_if<std::string>(&value))
      if (auto keys = decode_slice_keys(*records))
        for (auto& key : *keys) slices++, slice_bytes += key.size;
    return true;
  }));
  ZEST_TRY(engine.scan(meta::Table::kSliceRefs, 0, [&](const meta::Key& key, const meta::Value& value) {
    auto* refs = std::get_if<int64_t>(&value);
    if (refs && *refs <= 0) pending++, pending_bytes += key.b;
    return true;
  }));
  std::pair<const char*, uint64_t> fields[] = {{"TrashFileCount", files},
                                               {"TrashFileSize", bytes},
                                               {"PendingDeletedFileCount", deleted},
                                               {"PendingDeletedFileSize", deleted_bytes},
                                               {"TrashSliceCount", slices},
                                               {"TrashSliceSize", slice_bytes},
                                               {"PendingDeletedSliceCount", pending},
                                               {"PendingDeletedSliceSize", pending_bytes}};
  for (auto& [name, value] : fields)
    if (value) stat[name] = value;
  return {};
}

int StatusCommand::run() {
  auto opened = open_volume(args[0], {});
  if (!opened) return complain("", opened.error());
  auto& meta = **opened;
  if (sid) return show_session(meta);
  auto sessions = meta.sessions(false);
  if (!sessions) return complain("cannot list sessions", sessions.error());
  auto usage = meta.statfs({}, kRootIno);
  if (!usage) return complain("cannot read the usage", usage.error());
  Json out;
  out["Setting"] = Json::parse(format_without_secrets(meta.format(), 2), nullptr, false);
  out["Sessions"] = Json::array();
  for (auto& session : *sessions) out["Sessions"].push_back(session_json(session));
  Json stat;
  stat["UsedSpace"] = usage->total_space - usage->avail_space;
  stat["AvailableSpace"] = usage->avail_space;
  stat["UsedInodes"] = usage->used_inodes;
  stat["AvailableInodes"] = usage->avail_inodes;
  if (more)
    if (auto added = add_waiting(meta, stat); !added)
      return complain("cannot count what waits for deletion", added.error());
  out["Stat"] = stat;
  fmt::print("{}\n", to_text(out));
  return 0;
}

}  // namespace

Runner setup_status(CLI::App& app) {
  auto command = std::make_shared<StatusCommand>();
  positionals(app, command->args, 1, 1);
  app.add_option("--session,-s", command->sid, "show this session with its locks and open unlinked files");
  app.add_flag("--more,-m", command->more, "count the trash and what waits for deletion, too (slow)");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
