// zestfs changelog: follows the change log of a volume (docs/behaviour/cli.md).
#include "meta/changelog.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/command.h"
#include "cli/open.h"
#include "cli/terminal.h"

namespace zest::cli {
namespace {

constexpr auto kPause = std::chrono::milliseconds(200);

struct ChangelogCommand {
  std::vector<std::string> args;
  int64_t from = 0;
  bool json = false;

  int run();
  void print(const meta::LogLine& line) const;
};

void ChangelogCommand::print(const meta::LogLine& line) const {
  if (!json) {
    fmt::print("{}: {}\n", line.version, line.text);
    return;
  }
  using Json = nlohmann::ordered_json;
  Json out{{"version", line.version}, {"entry", line.text}};
  if (const auto entry = meta::parse_log_line(line.text)) {
    out["time"] = fmt::format("{}.{:09}", entry->at.sec, entry->at.nsec);
    out["op"] = entry->op;
    out["args"] = entry->args;
    if (!entry->results.empty()) out["results"] = entry->results;
    out["session"] = entry->sid;
    out["number"] = entry->number;
  }
  fmt::print("{}\n", out.dump(-1, ' ', false, Json::error_handler_t::replace));
}

int ChangelogCommand::run() {
  meta::Options options;
  options.read_only = true;
  auto opened = open_volume(args[0], options);
  if (!opened) return complain("", opened.error());
  auto& engine = (*opened)->engine();
  if (!(*opened)->format().change_log)
    return complain("the volume keeps no change log: `config META-URL --changelog` makes it keep one");
  const auto range = engine.log_range();
  if (!range) return complain("cannot read the change log", range.error());
  if (from > 0 && from + 1 < range->first)
    return complain(
        fmt::format("what followed version {} was removed: the oldest line is version {} (see "
                    "changelog-max-age and changelog-max-lines of `config`)",
                    from, range->first));
  int64_t next = from > 0 ? from + 1 : from < 0 ? range->first : range->last + 1;
  meta::LogTail tail(engine, system_clock(), next);
  const auto* cancelled = watch_interrupts();
  while (!*cancelled) {
    const auto lines = tail.next();
    if (!lines) return complain("cannot read the change log", lines.error());
    for (const auto& line : *lines) {
      if (engine.info().dense_log && line.version > next)
        log_warning(fmt::format("versions {} to {} are missing: removed meanwhile, or of changes that came to nothing",
                                next, line.version - 1));
      next = line.version + 1;
      print(line);
    }
    if (fflush(stdout) != 0) return 1;  // whoever read this is gone
    if (lines->empty()) std::this_thread::sleep_for(kPause);
  }
  return 0;
}

}  // namespace

Runner setup_changelog(CLI::App& app) {
  auto command = std::make_shared<ChangelogCommand>();
  positionals(app, command->args, 1, 1);
  app.add_option("--from", command->from, "show changes after this version; 0: from now on; -1: all there are")
      ->default_val(0);
  app.add_flag("--json", command->json, "print a JSON object for each line");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
