// The program: options that every command has, help, dispatch (docs/behaviour/cli.md section 1).
#pragma once

namespace zest::cli {

// Exit codes: 0 good, 1 any error, 3 unknown command; what the command gives otherwise.
int run(int argc, char** argv);

}  // namespace zest::cli
