// zestfs tier list|set|restore: storage tiers of files (docs/behaviour/cli.md, docs/format/objects.md section 11). What
// they stand for is set by `config --tier`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/slices.h"
#include "cli/terminal.h"
#include "meta/bulk/walk.h"

namespace zest::cli {
namespace {

struct TierCommand {
  std::vector<std::string> args;
  std::optional<int> tier;
  bool recursive = false, force = false, json = false;
  int days = 3;

  int run();

 private:
  int list(const Format& format) const;
  int set(meta::Meta& meta);
  int restore(meta::Meta& meta) const;
};

constexpr int kThreads = 10;

std::map<int, Tier> tiers_of(const Format& format) {
  auto tiers = format.tiers;
  tiers.try_emplace(0, Tier{0, format.storage_class, ""});
  return tiers;
}

std::string describe(const std::map<int, Tier>& tiers, int id) {
  auto it = tiers.find(id);
  return fmt::format("{}(storage-class: {};tag: {})", id, it == tiers.end() ? "" : it->second.storage_class,
                     it == tiers.end() ? "" : it->second.tag);
}

int TierCommand::list(const Format& format) const {
  auto tiers = tiers_of(format);
  if (json) {
    auto out = nlohmann::ordered_json::array();
    for (auto& [id, one] : tiers) out.push_back({{"tier", id}, {"storageClass", one.storage_class}, {"tag", one.tag}});
    fmt::print("{}\n", out.dump(2));
    return 0;
  }
  std::vector<std::vector<std::string>> rows{{"tier", "storageClass", "tag"}};
  for (auto& [id, one] : tiers) rows.push_back({std::to_string(id), one.storage_class, one.tag});
  fmt::print("{}", table(rows, 1));
  return 0;
}

// Gives inodes their tier, and rewrites the blocks of files in its class.
class Mover : public meta::Visitor {
 public:
  Mover(meta::Meta& meta, object::Storage& store, const Tier& tier, bool rewrite, bool recursive, bool force)
      : meta_(meta), store_(store), tier_(tier), rewrite_(rewrite), recursive_(recursive), force_(force) {}

  Result<void> page(const meta::WalkDirPtr& dir, std::vector<meta::DirEntry>& entries,
                    std::vector<meta::WalkDirPtr>& descend) override {
    for (auto& entry : entries) {
      if (entry.entry.type == FileType::kDirectory) {
        if (!recursive_) continue;
        ZEST_TRY(move(entry.entry.ino));
        descend.push_back(std::make_shared<meta::WalkDir>(dir, entry.entry.ino, entry.name));
      } else if (entry.entry.type == FileType::kFile && recursive_) {
        ZEST_TRY(move(entry.entry.ino));
      }
    }
    return {};
  }

  Result<void> move(Ino ino) {
    ZEST_ASSIGN(auto attr, meta_.getattr(root_, ino));
    done++;
    if (attr.tier == tier_.id && !force_) return {};
    if (attr.is_file() && rewrite_) ZEST_TRY(rewrite(ino, attr.length));
    Attr wanted;
    wanted.tier = static_cast<uint8_t>(tier_.id);
    auto set = meta_.setattr(root_, ino, meta::kSetTier, wanted);
    if (!set) return fail(std::move(set.error()));
    return {};
  }

  std::atomic<uint64_t> done{0};

 private:
  Result<void> rewrite(Ino ino, uint64_t length) {
    return each_block(meta_, ino, length, [&](const std::string& key, uint32_t) -> Result<void> {
      ZEST_ASSIGN(auto body, store_.get(key));
      return store_.put(key, body, {tier_.storage_class, tier_.tag});
    });
  }

  meta::Meta& meta_;
  object::Storage& store_;
  const Tier tier_;
  const bool rewrite_, recursive_, force_;
  const meta::Context root_;
};

int TierCommand::set(meta::Meta& meta) {
  if (!tier) return complain("missing required flag: --tier");
  auto tiers = tiers_of(meta.format());
  auto wanted = tiers.find(*tier);
  if (wanted == tiers.end()) return complain(fmt::format("tier {} is not defined: use config --tier", *tier));
  meta::Context root;
  root.cancelled = watch_interrupts();
  auto found = meta.resolve(root, args[2]);
  if (!found) return complain("lookup " + args[2], found.error());
  auto store = open_volume_storage(meta.format());
  if (!store) return complain("cannot open the storage", store.error());
  bool rewrite = (*store)->limits().placement;
  if (!rewrite) log_warning("Set storage tier: not supported");
  Mover mover(meta, **store, wanted->second, rewrite, recursive, force);
  Result<void> moved;
  {
    Progress progress("Moved inodes", &mover.done, nullptr);
    moved = mover.move(found->ino);
    if (moved && found->attr.is_dir() && recursive) {
      meta::WalkOptions options;
      options.cancelled = root.cancelled;
      moved = meta::walk(meta.engine(), options, std::make_shared<meta::WalkDir>(nullptr, found->ino, ""), mover);
    }
  }
  if (!moved) return complain("tier set", moved.error());
  log_info(fmt::format("set storage tier of \"{}\" from {} to {}", args[2], describe(tiers, found->attr.tier),
                       describe(tiers, *tier)));
  return 0;
}

// Asks the storage for the blocks of files.
class Thawer : public meta::Visitor {
 public:
  Thawer(meta::Meta& meta, object::Storage& store, bool recursive, int days)
      : meta_(meta), store_(store), recursive_(recursive), days_(days) {}

  Result<void> page(const meta::WalkDirPtr& dir, std::vector<meta::DirEntry>& entries,
                    std::vector<meta::WalkDirPtr>& descend) override {
    for (auto& entry : entries) {
      if (entry.entry.type == FileType::kDirectory && recursive_)
        descend.push_back(std::make_shared<meta::WalkDir>(dir, entry.entry.ino, entry.name));
      else if (entry.entry.type == FileType::kFile)
        ZEST_TRY(thaw(entry.entry.ino));
    }
    return {};
  }

  Result<void> thaw(Ino ino) {
    ZEST_ASSIGN(auto attr, meta_.getattr(meta::Context{}, ino));
    return each_block(meta_, ino, attr.length, [&](const std::string& key, uint32_t) -> Result<void> {
      ZEST_ASSIGN(const bool archived, store_.restore(key, days_));
      (archived ? asked : readable)++;
      return {};
    });
  }

  std::atomic<uint64_t> asked{0}, readable{0};

 private:
  meta::Meta& meta_;
  object::Storage& store_;
  const bool recursive_;
  const int days_;
};

int TierCommand::restore(meta::Meta& meta) const {
  if (days < 1) return complain("days should be greater than 0");
  meta::Context root;
  root.cancelled = watch_interrupts();
  auto found = meta.resolve(root, args[2]);
  if (!found) return complain("lookup " + args[2], found.error());
  auto store = open_volume_storage(meta.format());
  if (!store) return complain("cannot open the storage", store.error());
  Thawer thawer(meta, **store, recursive, days);
  Result<void> done;
  {
    Progress progress("Asked for", &thawer.asked, nullptr);
    if (found->attr.is_dir()) {
      meta::WalkOptions options;
      options.threads = kThreads;
      options.cancelled = root.cancelled;
      done = meta::walk(meta.engine(), options, std::make_shared<meta::WalkDir>(nullptr, found->ino, ""), thawer);
    } else {
      done = thawer.thaw(found->ino);
    }
  }
  if (!done && done.error().code == ENOTSUP)
    return complain(fmt::format("restore of archived objects: not supported by {}", (*store)->describe()));
  if (!done) return complain("tier restore", done.error());
  log_info(fmt::format("asked for {} archived objects, readable for {} days some hours from now; {} are not archived",
                       thawer.asked.load(), days, thawer.readable.load()));
  return 0;
}

int TierCommand::run() {
  auto& sub = args[0];
  if (sub != "list" && sub != "set" && sub != "restore") {
    fmt::print("No help topic for '{}'\n", sub);
    return 3;
  }
  if (args.size() < 2) return complain("the command needs a META-URL");
  if (sub != "list" && args.size() < 3) return complain("the command needs a PATH inside the volume");
  auto opened = open_volume(args[1], {});
  if (!opened) return complain("", opened.error());
  if (sub == "list") return list((*opened)->format());
  if (sub == "restore") return restore(**opened);
  int code = set(**opened);
  auto flushed = (*opened)->flush_ledgers();
  return flushed ? code : complain("tier set", flushed.error());
}

}  // namespace

Runner setup_tier(CLI::App& app) {
  auto command = std::make_shared<TierCommand>();
  positionals(app, command->args, 1, 3);
  app.add_option("--tier", command->tier, "the tier, 0 to 3");
  app.add_flag("--recursive,-r", command->recursive, "and everything below the directory");
  app.add_flag("--force,-f", command->force, "also what is of this tier already");
  app.add_option("--days", command->days, "days that restored objects stay readable (restore)");
  app.add_flag("--json", command->json, "print JSON instead of a table");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
