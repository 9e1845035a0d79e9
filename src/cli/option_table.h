// What the program's commands and options are, read from their declarations: for help, completion and the manual page.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace zest::cli {

struct OptionRow {
  std::vector<std::string> names;  // "--threads", "-p": as declared, the long ones first
  bool takes_value = false;
  std::string default_text;  // empty: none worth telling
  std::string help, group;   // group: a heading as "DATA STORAGE"; empty: no heading
};

// Options that are not hidden, in the order of their declaration, those without a heading first.
std::vector<OptionRow> options_of(const Command& command);
std::vector<OptionRow> global_options();
// The words that may stand first behind a command, as "set" of quota; from its usage.
std::vector<std::string> subcommands_of(const Command& command);
const Command* find_command(const std::string& name);

std::string command_help(const Command& command);
std::string program_help();
// "--threads value, -p value"
std::string option_title(const OptionRow& option);

}  // namespace zest::cli
