// zestfs info: inode, size, paths and objects of files and directories of a mount (docs/behaviour/control.md section
// 6).
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

struct InfoCommand {
  std::vector<std::string> args;
  bool by_inode = false, recursive = false, strict = false, raw = false, json = false;

  int run();
  int show(const std::string& path);
  int show_legacy(ControlClient& control, const std::string& path, uint64_t ino);
  void print(const std::string& path, const Json& reply);
};

std::string number(const Json& object, const char* key) {
  auto it = object.find(key);
  if (it == object.end()) return "";
  if (it->is_number_unsigned()) return std::to_string(it->get<uint64_t>());
  return it->is_number() ? std::to_string(it->get<int64_t>()) : it->is_string() ? it->get<std::string>() : it->dump();
}

uint64_t amount(const Json& object, const char* key) {
  auto it = object.find(key);
  return it != object.end() && it->is_number() ? it->get<uint64_t>() : 0;
}

void print_pieces(const Json& reply, bool raw) {
  auto it = reply.find(raw ? "Chunks" : "Objects");
  if (it == reply.end() || !it->is_array() || it->empty()) return;
  std::vector<std::vector<std::string>> rows;
  if (raw)
    rows.push_back({"chunkIndex", "sliceId", "size", "offset", "length"});
  else
    rows.push_back({"chunkIndex", "objectName", "size", "offset", "length", "pos"});
  uint64_t pos = 0;
  for (auto& piece : *it) {
    std::vector<std::string> row{number(piece, "ChunkIndex"), number(piece, raw ? "Id" : "Key"), number(piece, "Size"),
                                 number(piece, "Off"), number(piece, "Len")};
    if (!raw) row.push_back(std::to_string(pos));
    pos += amount(piece, "Len");
    rows.push_back(row);
  }
  size_t left = raw ? rows[0].size() : 1;  // names only; slices have none
  fmt::print("{}\n{}", raw ? " chunks:" : " objects:", table(rows, left));
}

void print_locks(const Json& reply, const char* key, const char* title, const std::vector<const char*>& columns) {
  auto it = reply.find(key);
  if (it == reply.end() || !it->is_array() || it->empty()) return;
  std::vector<std::vector<std::string>> rows{{columns.begin(), columns.end()}};
  for (auto& lock : *it) {
    std::vector<std::string> row;
    for (auto* column : columns) {
      auto text = number(lock, column);
      if (!strcmp(column, "Type") && text == "0") text = "R";
      if (!strcmp(column, "Type") && text == "1") text = "W";
      row.push_back(text);
    }
    rows.push_back(row);
  }
  fmt::print("{}\n{}", title, table(rows));
}

void InfoCommand::print(const std::string& path, const Json& reply) {
  Json summary = reply.value("Summary", Json::object());
  fmt::print("{} :\n  inode: {}\n  files: {}\n   dirs: {}\n length: {}\n   size: {}\n", path, number(reply, "Ino"),
             number(summary, "Files"), number(summary, "Dirs"), format_size_exact(amount(summary, "Length")),
             format_size_exact(amount(summary, "Size")));
  auto paths = reply.value("Paths", Json::array());
  if (paths.empty())
    fmt::print("   path: unknown\n");
  else if (paths.size() == 1)
    fmt::print("   path: {}\n", paths[0].get<std::string>());
  else {
    fmt::print("  paths:\n");
    for (auto& one : paths) fmt::print("\t{}\n", one.get<std::string>());
  }
  if (reply.contains("Tier")) fmt::print("   tier: {}\n", number(reply, "Tier"));
  print_pieces(reply, raw);
  print_locks(reply, "FLocks", " flocks:", {"Sid", "Owner", "Type"});
  print_locks(reply, "PLocks", " plocks:", {"Sid", "Owner", "Type", "Pid", "Start", "End"});
}

// A mount that is too old for the other request gives the text itself.
int InfoCommand::show_legacy(ControlClient& control, const std::string& path, uint64_t ino) {
  std::string body;
  put_be64(body, ino);
  put_u8(body, recursive);
  put_u8(body, raw);
  auto text = control.request(op::kInfoLegacy, body, nullptr, watch_interrupts());
  if (!text) return complain("info", text.error());
  fmt::print("{} :\n{}", path, *text);
  return 0;
}

int InfoCommand::show(const std::string& path) {
  uint64_t ino = 0;
  if (by_inode) {
    auto parsed = parse_uint(path);
    if (!parsed) return complain(fmt::format("{} is not an inode number", path)), 0;
    ino = *parsed;
  } else {
    auto found = inode_of(path);
    if (!found) return complain("lookup inode for " + path, found.error()), 0;
    ino = *found;
  }
  auto control = ControlClient::open(by_inode ? "." : path);
  if (!control) return complain("", control.error()), 0;
  std::string body;
  put_be64(body, ino);
  put_u8(body, recursive);
  put_u8(body, raw);
  put_u8(body, strict);
  ControlClient::Progress counts;
  Progress progress("Scanned files", &counts.a, nullptr);
  auto reply = control->request(op::kInfo, body, &counts, watch_interrupts());
  if (!reply && reply.error().code == EINVAL) return show_legacy(*control, path, ino);
  if (!reply) return complain("info", reply.error());
  auto parsed = Json::parse(*reply, nullptr, false);
  if (parsed.is_discarded()) return complain("info: the mount gave an answer that is no JSON");
  if (parsed.value("Failed", false)) return complain("info: " + parsed.value("Reason", ""));
  if (json)
    fmt::print("{}\n", parsed.dump(2, ' ', false, Json::error_handler_t::replace));
  else
    print(path, parsed);
  return 0;
}

int InfoCommand::run() {
  for (auto& path : args)
    if (int code = show(path)) return code;
  return 0;
}

}  // namespace

Runner setup_info(CLI::App& app) {
  auto command = std::make_shared<InfoCommand>();
  positionals(app, command->args, 1, 100'000);
  app.add_flag("--inode,-i", command->by_inode,
               "the arguments are inode numbers; the current directory is in the mount");
  app.add_flag("--recursive,-r", command->recursive, "add up everything below directories");
  app.add_flag("--strict", command->strict, "count by walking instead of adding up statistics");
  app.add_flag("--raw", command->raw, "show slices instead of objects");
  app.add_flag("--json", command->json, "print JSON");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
