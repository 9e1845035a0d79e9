// A subcommand: one file in cli/ each, with its options and what it does.
#pragma once

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace zest::cli {

// Adds the command's options to `app` and returns what runs it: the exit code of the program.
using Setup = std::function<int()> (*)(CLI::App& app);

struct Command {
  const char* name;
  const char* group;  // heading in --help: "ADMIN", "INSPECTOR", "SERVICE", "TOOL"
  const char* summary;
  Setup setup;
};

// To stderr: "zestfs: text", in red on a terminal. Secrets in it are masked.
void complain(const std::string& text);

}  // namespace zest::cli
