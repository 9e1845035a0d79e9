// zestfs quota set|get|list|delete|check (docs/behaviour/cli.md).
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include <nlohmann/json.hpp>
#include "base/log.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/terminal.h"
#include "cli/volume_options.h"

namespace zest::cli {
namespace {

using meta::Meta;

struct QuotaCommand {
  std::vector<std::string> args;
  std::string path;
  std::optional<std::string> capacity;
  std::optional<uint64_t> inodes, uid, gid;
  bool create = false, repair = false, strict = false, json = false;

  int run();
  Result<Meta::QuotaOf> subject(Meta& meta);
  int set(Meta& meta);
  int list(Meta& meta);
  int check(Meta& meta);
  std::string label(Meta& meta, const Meta::QuotaOf& quota);
  void show(Meta& meta, const std::vector<Meta::QuotaOf>& quotas);
};

// The directory, user or group that the options name.
Result<Meta::QuotaOf> QuotaCommand::subject(Meta& meta) {
  if (!path.empty() + uid.has_value() + gid.has_value() > 1)
    return fail(EINVAL, fmt::format("Cannot specify both --{} and --{} at the same time", uid ? "uid" : "gid",
                                    path.empty() ? "gid" : "path"));
  if (uid) return Meta::QuotaOf{Meta::QuotaKind::kUser, *uid, {}};
  if (gid) return Meta::QuotaOf{Meta::QuotaKind::kGroup, *gid, {}};
  if (path.empty()) return fail(EINVAL, "please give the directory with --path");
  meta::Context root;
  auto found = meta.resolve(root, path);
  if (!found && found.error().code == ENOENT && create) {
    Ino parent = kRootIno;
    for (size_t at = 0; at < path.size();) {
      auto end = std::min(path.find('/', at), path.size());
      auto name = path.substr(at, end - at);
      at = end + 1;
      if (name.empty()) continue;
      auto made = meta.mkdir(root, parent, name, 0777, 0022);
      if (!made && made.error().code == EEXIST) made = meta.lookup(root, parent, name);
      if (!made) return fail(made.error().code, fmt::format("mkdir {}", path));
      parent = made->ino;
    }
    found = meta.resolve(root, path);
  }
  if (!found) return fail(found.error().code, fmt::format("resolve dir {}", path));
  if (is_trash(found->ino)) return fail(EPERM, "no quota for any trash directory");
  if (!found->attr.is_dir()) return fail(ENOTDIR, path);
  return Meta::QuotaOf{Meta::QuotaKind::kDirectory, raw(found->ino), {}};
}

std::string QuotaCommand::label(Meta& meta, const Meta::QuotaOf& quota) {
  if (quota.kind == Meta::QuotaKind::kUser) return fmt::format("uid:{}", quota.id);
  if (quota.kind == Meta::QuotaKind::kGroup) return fmt::format("gid:{}", quota.id);
  if (!path.empty()) return path;
  auto paths = meta.paths({}, Ino{quota.id});
  return paths && !paths->empty() ? paths->front() : fmt::format("inode {}", quota.id);
}

void QuotaCommand::show(Meta& meta, const std::vector<Meta::QuotaOf>& quotas) {
  if (json) {
    auto out = nlohmann::ordered_json::array();
    for (auto& q : quotas)
      out.push_back({{"path", label(meta, q)},
                     {"maxSpace", q.quota.max_space},
                     {"maxInodes", q.quota.max_inodes},
                     {"usedSpace", q.quota.used_space},
                     {"usedInodes", q.quota.used_inodes}});
    fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  if (quotas.empty()) return;
  bool owners = false;
  for (auto& q : quotas) owners |= q.kind != Meta::QuotaKind::kDirectory;
  std::vector<std::vector<std::string>> rows{
      {owners ? "Path/ID" : "Path", "Size", "Used", "Use%", "Inodes", "IUsed", "IUse%"}};
  auto percent = [](int64_t used, int64_t most) {
    return most > 0 ? fmt::format("{}%", used * 100 / most) : std::string();
  };
  for (auto& q : quotas) {
    auto used = std::max<int64_t>(q.quota.used_space, 0), inodes_used = std::max<int64_t>(q.quota.used_inodes, 0);
    rows.push_back({label(meta, q),
                    q.quota.max_space > 0 ? format_size(static_cast<uint64_t>(q.quota.max_space)) : "unlimited",
                    format_size(static_cast<uint64_t>(used)), percent(used, q.quota.max_space),
                    q.quota.max_inodes > 0 ? with_commas(static_cast<uint64_t>(q.quota.max_inodes)) : "unlimited",
                    with_commas(static_cast<uint64_t>(inodes_used)), percent(inodes_used, q.quota.max_inodes)});
  }
  fmt::print("{}", table(rows));
}

int QuotaCommand::set(Meta& meta) {
  std::optional<int64_t> space, count;
  if (capacity) {
    auto bytes = parse_bytes(*capacity, uint64_t{1} << 30, "capacity");
    if (!bytes) return complain("", bytes.error());
    space = static_cast<int64_t>(*bytes);
  }
  if (inodes) count = static_cast<int64_t>(*inodes);
  auto which = subject(meta);
  if (!which) return complain("", which.error());
  if (!space && !count && !meta.get_quota(which->kind, which->id)) return complain("limitation not set or deleted");
  if (which->kind == Meta::QuotaKind::kUser && which->id == 0) return complain("root cannot have a quota");
  auto stored = meta.set_quota(which->kind, which->id, space, count, strict);
  if (!stored) return complain("set quota", stored.error());
  show(meta, {{which->kind, which->id, *stored}});
  return 0;
}

int QuotaCommand::list(Meta& meta) {
  auto quotas = meta.list_quotas();
  if (!quotas) return complain("list quotas", quotas.error());
  std::erase_if(*quotas, [](auto& q) {
    return q.kind != Meta::QuotaKind::kDirectory && q.quota.max_space <= 0 && q.quota.max_inodes <= 0;
  });
  show(meta, *quotas);
  return 0;
}

int QuotaCommand::check(Meta& meta) {
  std::vector<Meta::QuotaOf> which;
  if (path.empty() && !uid && !gid) {
    auto all = meta.list_quotas();
    if (!all) return complain("list quotas", all.error());
    which = *all;
  } else {
    auto one = subject(meta);
    if (!one) return complain("", one.error());
    which.push_back(*one);
  }
  int wrong = 0;
  for (auto& q : which) {
    auto stored = meta.get_quota(q.kind, q.id);
    if (!stored) return complain(fmt::format("no quota for {}", label(meta, q)));
    Quota counted;
    auto good = meta.check_quota(q.kind, q.id, strict, repair, &counted);
    if (!good) return complain("check quota", good.error());
    q.quota = *stored;
    if (*good) {
      log_info(fmt::format("quota of {} is consistent", label(meta, q)));
      continue;
    }
    log_warning(
        fmt::format("{}: quota({}, {}) != summary({}, {})", label(meta, q),
                    format_size(static_cast<uint64_t>(std::max<int64_t>(stored->used_space, 0))), stored->used_inodes,
                    format_size(static_cast<uint64_t>(std::max<int64_t>(counted.used_space, 0))), counted.used_inodes));
    if (repair) {
      q.quota.used_space = counted.used_space, q.quota.used_inodes = counted.used_inodes;
      log_info(fmt::format("quota of {} is repaired", label(meta, q)));
    } else {
      wrong++;
    }
  }
  show(meta, which);
  return wrong ? complain(fmt::format("{} quotas are not consistent, please repair them with --repair", wrong)) : 0;
}

int QuotaCommand::run() {
  auto& sub = args[0];
  static const std::vector<std::string> kSubs{"set", "get", "delete", "del", "list", "ls", "check"};
  if (std::find(kSubs.begin(), kSubs.end(), sub) == kSubs.end()) {
    fmt::print("No help topic for '{}'\n", sub);
    return 3;
  }
  if (args.size() < 2) return complain("the command needs a META-URL");
  auto opened = open_volume(args[1], {});
  if (!opened) return complain("", opened.error());
  auto& meta = **opened;
  if (sub == "set") return set(meta);
  if (sub == "list" || sub == "ls") return list(meta);
  if (sub == "check") return check(meta);
  auto which = subject(meta);
  if (!which) return complain("", which.error());
  if (sub == "get") {
    auto stored = meta.get_quota(which->kind, which->id);
    if (!stored && stored.error().code == ENOENT)
      return complain(fmt::format("no quota for inode {} path {}", which->id, path));
    if (!stored) return complain("get quota", stored.error());
    show(meta, {{which->kind, which->id, *stored}});
    return 0;
  }
  auto deleted = meta.delete_quota(which->kind, which->id);
  return deleted ? 0 : complain("delete quota", deleted.error());
}

}  // namespace

Runner setup_quota(CLI::App& app) {
  auto command = std::make_shared<QuotaCommand>();
  positionals(app, command->args, 1, 2);
  app.add_option("--path", command->path, "directory inside the volume");
  app.add_option("--capacity", command->capacity, "most space of everything below it, in GiB");
  app.add_option("--inodes", command->inodes, "most inodes below it");
  app.add_option("--uid", command->uid, "a user's quota");
  app.add_option("--gid", command->gid, "a group's quota");
  app.add_flag("--create", command->create, "set: make the directory if it is missing");
  app.add_flag("--repair", command->repair, "check: write the counted usage");
  app.add_flag("--strict", command->strict, "count by walking the tree instead of adding up statistics");
  app.add_flag("--json", command->json, "print JSON instead of a table");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
