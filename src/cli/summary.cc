// zestfs summary: what takes the space below a directory of a mount.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/control_client.h"
#include "cli/terminal.h"

namespace zest::cli {
namespace {

using Json = nlohmann::ordered_json;

struct SummaryCommand {
  std::vector<std::string> args;
  unsigned depth = 2, entries = 10;
  bool strict = false, csv = false, json = false;
  int run();
};

void add_rows(const Json& node, const std::string& path, bool top, bool csv,
              std::vector<std::vector<std::string>>& rows) {
  bool dir = node.value("Type", 0) == 2;
  auto name = top ? "/" : dir && !path.ends_with('/') ? path + "/" : path;
  auto size = node.value("Size", uint64_t{0});
  rows.push_back({name, csv ? std::to_string(size) : format_size(size), std::to_string(node.value("Dirs", uint64_t{0})),
                  std::to_string(node.value("Files", uint64_t{0}))});
  auto children = node.find("Children");
  if (children == node.end() || !children->is_array()) return;
  for (auto& child : *children) add_rows(child, child.value("Path", ""), false, csv, rows);
}

int SummaryCommand::run() {
  if (depth > 10) log_warning("depth should be less than 11"), depth = 10;
  if (entries > 100) log_warning("entries should be less than 101"), entries = 100;
  auto ino = inode_of(absolute_path(args[0]));
  if (!ino) return complain("lookup inode for " + args[0], ino.error());
  auto control = ControlClient::open(args[0]);
  if (!control) return complain("", control.error());
  std::string body;
  put_be64(body, *ino);
  put_u8(body, static_cast<uint8_t>(depth));
  put_u8(body, static_cast<uint8_t>(entries));
  put_u8(body, strict);
  ControlClient::Progress counts;
  auto reply = [&] {
    Progress progress("Scanned files", &counts.a, nullptr);
    return control->request(op::kSummary, body, &counts, watch_interrupts());
  }();
  if (!reply) return complain("summary", reply.error());
  auto parsed = Json::parse(*reply, nullptr, false);
  if (parsed.is_discarded()) return complain("summary: the mount gave an answer that is no JSON");
  if (int code = parsed.value("Errno", 0)) return complain("summary", Error{code, Fault::kPlain, {}});
  if (json) {
    fmt::print("{}\n", parsed["Tree"].dump(2, ' ', false, Json::error_handler_t::replace));
    return 0;
  }
  std::vector<std::vector<std::string>> rows{{"PATH", "SIZE", "DIRS", "FILES"}};
  add_rows(parsed["Tree"], "", true, csv, rows);
  if (csv)
    for (auto& row : rows) fmt::print("{}\n", fmt::join(row, ","));
  else
    fmt::print("{}", table(rows));
  return 0;
}

}  // namespace

Runner setup_summary(CLI::App& app) {
  auto command = std::make_shared<SummaryCommand>();
  positionals(app, command->args, 1, 1);
  app.add_option("--depth,-d", command->depth, "levels shown, 10 at most");
  app.add_option("--entries,-e", command->entries, "entries shown of a directory, 100 at most");
  app.add_flag("--strict", command->strict, "count by walking instead of adding up statistics");
  app.add_flag("--csv", command->csv, "print comma separated values, sizes in bytes");
  app.add_flag("--json", command->json, "print JSON");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
