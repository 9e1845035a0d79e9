#include "cli/option_table.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "cli/run.h"
#include "cli/version.h"

namespace zest::cli {
namespace {

constexpr const char* kGroups[] = {"ADMIN", "INSPECTOR", "SERVICE", "TOOL"};

std::vector<OptionRow> rows_of(const CLI::App& app, bool global) {
  std::vector<OptionRow> rows;
  for (const CLI::Option* option : app.get_options()) {
    const auto& group = option->get_group();
    if (group.empty() || option->get_positional() || (group == kGlobalGroup) != global) continue;
    OptionRow row;
    for (auto& name : option->get_lnames()) row.names.push_back("--" + name);
    for (auto& name : option->get_snames()) row.names.push_back("-" + name);
    row.takes_value = option->get_items_expected_max() > 0;
    if (row.takes_value) row.default_text = option->get_default_str();
    if (row.default_text == "[]" || row.default_text == "\"\"" || row.default_text == "{}") row.default_text.clear();
    row.help = option->get_description();
    row.group = group == "Options" || global ? "" : group;
    rows.push_back(std::move(row));
  }
  std::vector<std::string> order{""};
  for (auto& row : rows)
    if (std::find(order.begin(), order.end(), row.group) == order.end()) order.push_back(row.group);
  auto rank = [&](const OptionRow& row) { return std::find(order.begin(), order.end(), row.group) - order.begin(); };
  std::stable_sort(rows.begin(), rows.end(), [&](auto& a, auto& b) { return rank(a) < rank(b); });
  return rows;
}

std::string option_lines(const std::vector<OptionRow>& options) {
  size_t width = 0;
  for (auto& option : options) width = std::max(width, option_title(option).size());
  width = std::min<size_t>(width, 32);
  std::string out, group;
  for (auto& option : options) {
    if (option.group != group) out += fmt::format("\n   {}\n\n", option.group);
    group = option.group;
    auto end = option.default_text.empty() ? "" : fmt::format(" (default: {})", option.default_text);
    out += fmt::format("   {:<{}}  {}{}\n", option_title(option), width, option.help, end);
  }
  return out;
}

}  // namespace

std::string option_title(const OptionRow& option) {
  std::vector<std::string> parts;
  for (auto& name : option.names) parts.push_back(option.takes_value ? name + " value" : name);
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::vector<OptionRow> options_of(const Command& command) {
  CLI::App app;
  declare_options(command, app);
  return rows_of(app, false);
}

std::vector<OptionRow> global_options() {
  CLI::App app;
  declare_globals(app);
  return rows_of(app, true);
}

std::vector<std::string> subcommands_of(const Command& command) {
  std::string usage = command.usage;
  auto first = usage.substr(0, usage.find(' '));
  std::vector<std::string> out;
  if (first.find('|') == std::string::npos || !islower(static_cast<unsigned char>(first[0]))) return out;
  for (size_t at = 0; at <= first.size();) {
    auto end = std::min(first.find('|', at), first.size());
    out.push_back(first.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

const Command* find_command(const std::string& name) {
  for (auto& command : commands())
    if (name == command.name) return &command;
  return nullptr;
}

std::string command_help(const Command& command) {
  auto text = fmt::format("NAME:\n   zestfs {} - {}\n\nUSAGE:\n   zestfs {} {}\n", command.name, command.summary,
                          command.name, command.usage);
  if (*command.group) text += fmt::format("\nCATEGORY:\n   {}\n", command.group);
  auto options = options_of(command);
  return options.empty() ? text : text + "\nOPTIONS:\n" + option_lines(options);
}

std::string program_help() {
  std::string text =
      "NAME:\n   zestfs - a POSIX file system over object storage and a metadata database\n\nUSAGE:\n"
      "   zestfs [global options] COMMAND [command options] ARGS\n\nVERSION:\n   " +
      version_text() + "\n\nCOMMANDS:\n";
  for (const char* group : kGroups) {
    text += fmt::format("   {}:\n", group);
    for (auto& command : commands())
      if (std::string_view(command.group) == group)
        text += fmt::format("     {:<10} {}\n", command.name, command.summary);
  }
  return text + "\nGLOBAL OPTIONS:\n" + option_lines(global_options()) +
         "\n'zestfs COMMAND --help' shows the options of a command.\n";
}

}  // namespace zest::cli
