#include "cli/version.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "volume/format.h"

#ifndef ZEST_VERSION
#define ZEST_VERSION "0.0.0"
#endif
#ifndef ZEST_BUILD
#define ZEST_BUILD "unknown"
#endif

namespace zest::cli {

std::string version_number() { return std::string(ZEST_VERSION) + "+" + ZEST_BUILD; }
std::string version_text() { return "zestfs version " + version_number(); }
std::string session_version() { return fmt::format("{}+zestfs-{}", kCompatVersion, ZEST_VERSION); }

Runner setup_version(CLI::App&) {
  return [] {
    fmt::print("{}\n", version_text());
    return 0;
  };
}

}  // namespace zest::cli
