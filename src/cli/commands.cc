// The list of commands. A new one is a file of its own with a setup function, and a line here.
#include "cli/command.h"

namespace zest::cli {

Runner setup_format(CLI::App&);
Runner setup_config(CLI::App&);
Runner setup_destroy(CLI::App&);
Runner setup_status(CLI::App&);
Runner setup_version(CLI::App&);

static constexpr Command kCommands[] = {
    {"format", "ADMIN", "create a volume, or change the settings of one", "[command options] META-URL NAME",
     setup_format},
    {"config", "ADMIN", "show or change the settings of a volume", "[command options] META-URL", setup_config},
    {"destroy", "ADMIN", "remove a volume: its objects and its metadata", "[command options] META-URL UUID",
     setup_destroy},
    {"version", "ADMIN", "print the version", "", setup_version},
    {"status", "INSPECTOR", "show settings, sessions and usage of a volume", "[command options] META-URL",
     setup_status},
};

std::span<const Command> commands() { return kCommands; }

}  // namespace zest::cli
