// The program: options that every command has, help, dispatch (docs/behaviour/cli.md section 1).
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace zest::cli {

struct Command;

int run(int argc, char** argv);

// Declares a command's own options, or those that all have, in `app`; for texts made of them. Not for parsing.
void declare_options(const Command& command, CLI::App& app);
void declare_globals(CLI::App& app);
inline constexpr char kGlobalGroup[] = "GLOBAL OPTIONS";

// Prints what may stand at the end of the line: "--generate-bash-completion".
void print_completions(const std::vector<std::string>& words);

}  // namespace zest::cli
