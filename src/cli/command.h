// A subcommand: one file in cli/ each, with its options and what it does; commands.cc lists them.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"

namespace CLI {
class App;
}

namespace zest::cli {

// Adds the command's options to `app` and returns what runs it: the exit code of the program.
using Runner = std::function<int()>;
using Setup = Runner (*)(CLI::App& app);

struct Command {
  const char* name;
  const char* group;  // heading in the help: "ADMIN", "INSPECTOR", "SERVICE", "TOOL"; empty: hidden
  const char* summary;
  const char* usage;  // what follows the name: "[command options] META-URL NAME"
  Setup setup;
};
std::span<const Command> commands();

// The global options, after parsing.
struct Globals {
  bool quiet = false, colour_off = false;
  LogOptions log;                 // as configured
  std::vector<std::string> argv;  // as given, secrets included: for programs that start themselves again
};
const Globals& globals();
bool colour_on(int fd);  // a terminal, and neither --no-color nor NO_COLOR

// Logs the error and gives exit code 1. Secrets are masked.
int complain(const std::string& text);
int complain(const std::string& doing, const Error& error);  // "doing: No such file"
// Positional arguments of a command, between `least` and `most`; prints the usage and gives false otherwise. Every
// setup declares its positionals by this.
void positionals(CLI::App& app, std::vector<std::string>& into, size_t least, size_t most);

}  // namespace zest::cli
