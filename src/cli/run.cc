#include "cli/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>

#include "base/log.h"
#include "cli/command.h"
#include "cli/option_table.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace zest::cli {
namespace {

Globals& mutable_globals() {
  static Globals state;
  return state;
}

std::string hex_id() {
  std::random_device random;
  return fmt::format("{:08x}-{:08x}", random(), random());
}

// One dash or two are the same: -name becomes --name, --p becomes -p. Negative numbers are values.
std::vector<std::string> normalise(int argc, char** argv) {
  std::vector<std::string> out;
  for (int i = 1; i < argc; i++) {
    std::string arg = argv[i];
    bool number = arg.size() > 1 && (isdigit(static_cast<unsigned char>(arg[1])) || arg[1] == '.');
    if (arg.size() > 1 && arg[0] == '-' && !number) {
      auto name = arg.substr(arg[1] == '-' ? 2 : 1);
      auto length = std::min(name.find('='), name.size());
      arg = (length == 1 ? "-" : "--") + name;
    }
    out.push_back(arg);
  }
  return out;
}

// The program's own arguments show passwords to everybody who looks at the list of processes: overwrite them.
void hide_secrets(int argc, char** argv) {
  for (int i = 1; i < argc; i++) {
    auto masked = mask_secrets(argv[i]);
    for (const char* option : {"--secret-key", "--session-token", "--access-key", "-secret-key", "-session-token",
                               "--push-auth", "-push-auth"}) {
      if (i > 1 && !strcmp(argv[i - 1], option)) masked = "****";
      std::string prefix = std::string(option) + "=";
      if (std::string_view(argv[i]).starts_with(prefix)) masked = prefix + "****";
    }
    if (masked == argv[i]) continue;
    size_t room = strlen(argv[i]);
    memset(argv[i], 0, room);
    memcpy(argv[i], masked.data(), std::min(room, masked.size()));
  }
}

struct GlobalFlags {
  bool verbose = false, quiet = false, trace = false, no_colour = false, no_agent = false, version = false;
  std::string log_level, log_id, pyroscope;
};

void add_globals(CLI::App& app, GlobalFlags& flags) {
  app.add_flag("--verbose,--debug,-v", flags.verbose, "log more (level DEBUG)")->group(kGlobalGroup);
  app.add_flag("--quiet,-q", flags.quiet, "log warnings and errors only, no progress bars")->group(kGlobalGroup);
  app.add_flag("--trace", flags.trace, "log everything (level TRACE)")->group(kGlobalGroup);
  app.add_option("--log-level", flags.log_level)->group("");
  app.add_option("--log-id", flags.log_id, "put [ID] before each line of the log; random: makes one up")
      ->group(kGlobalGroup);
  app.add_flag("--no-agent", flags.no_agent, "accepted; there is no debug listener to leave out")->group(kGlobalGroup);
  app.add_option("--pyroscope", flags.pyroscope, "accepted; profiles are not uploaded")->group(kGlobalGroup);
  app.add_flag("--no-color", flags.no_colour, "no colours in logs and tables")->group(kGlobalGroup);
  app.set_help_flag("--help,-h", "show help")->group(kGlobalGroup);
  app.add_flag("--version,-V", flags.version, "print the version")->group(kGlobalGroup);
}

bool apply_globals(const GlobalFlags& flags) {
  LogOptions log;
  if (flags.quiet) log.level = LogLevel::kWarning;
  if (flags.verbose) log.level = LogLevel::kDebug;
  if (flags.trace) log.level = LogLevel::kTrace;
  if (!flags.log_level.empty()) {
    if (flags.log_level == "trace")
      log.level = LogLevel::kTrace;
    else if (flags.log_level == "debug")
      log.level = LogLevel::kDebug;
    else if (flags.log_level == "info")
      log.level = LogLevel::kInfo;
    else if (flags.log_level == "warn" || flags.log_level == "warning")
      log.level = LogLevel::kWarning;
    else if (flags.log_level == "error" || flags.log_level == "fatal" || flags.log_level == "panic")
      log.level = LogLevel::kError;
    else
      return complain(fmt::format("unknown log level \"{}\": trace, debug, info, warn, error", flags.log_level)), false;
  }
  log.log_id = flags.log_id == "random" ? hex_id() : flags.log_id;
  mutable_globals().quiet = flags.quiet;
  mutable_globals().colour_off = flags.no_colour || getenv("NO_COLOR");
  log.colour = colour_on(STDERR_FILENO);
  mutable_globals().log = log;
  configure_log(log);
  return true;
}

int usage_error(const Command& command, const std::string& text) {
  fmt::print("ERROR: {}\n\nUSAGE:\n   zestfs {} {}\n", text, command.name, command.usage);
  return 1;
}

// "-p=4" as "--threads=4": the parser takes '=' behind long names only.
std::vector<std::string> with_long_names(const CLI::App& app, std::vector<std::string> args) {
  for (auto& arg : args) {
    if (arg.size() < 3 || arg[0] != '-' || arg[1] == '-' || arg[2] != '=') continue;
    const auto* option = app.get_option_no_throw(arg.substr(0, 2));
    if (option && !option->get_lnames().empty()) arg = "--" + option->get_lnames()[0] + arg.substr(2);
  }
  return args;
}

int run_command(const Command& command, const std::vector<std::string>& args) {
  CLI::App app(command.summary, std::string("zestfs ") + command.name);
  GlobalFlags flags;
  add_globals(app, flags);
  auto runner = command.setup(app);
  auto reversed = with_long_names(app, args);
  std::reverse(reversed.begin(), reversed.end());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", command_help(command));
    return 0;
  } catch (const CLI::ExtrasError&) {
    for (auto& extra : app.remaining())
      if (extra.size() > 1 && extra[0] == '-') return complain(fmt::format("unknown option: {}", extra));
    return usage_error(command,
                       fmt::format("unexpected argument: {}", app.remaining().empty() ? "" : app.remaining()[0]));
  } catch (const CLI::ParseError& error) {
    // counts of positionals are told with the usage, anything else is a plain message
    if (std::string_view(error.what()).starts_with("This command")) return usage_error(command, error.what());
    return complain(error.what());
  }
  if (flags.version) {
    fmt::print("{}\n", version_text());
    return 0;
  }
  if (!apply_globals(flags)) return 1;
  int code = runner();
  int by_signal = interrupt_exit_code();
  return code != 0 && by_signal ? by_signal : code;
}

}  // namespace

void declare_options(const Command& command, CLI::App& app) {
  app.set_help_flag();
  app.option_defaults()->always_capture_default();
  command.setup(app);
}

void declare_globals(CLI::App& app) {
  GlobalFlags flags;
  add_globals(app, flags);
}

const Globals& globals() { return mutable_globals(); }

bool colour_on(int fd) { return !globals().colour_off && isatty(fd); }

int complain(const std::string& text) {
  log_error(mask_secrets(text));
  return 1;
}

int complain(const std::string& doing, const Error& error) {
  return complain(doing.empty() ? error.message() : fmt::format("{}: {}", doing, error.message()));
}

void positionals(CLI::App& app, std::vector<std::string>& into, size_t least, size_t most) {
  app.add_option("args", into)->group("");
  app.final_callback([&into, least, most] {
    if (into.size() < least)
      throw CLI::ValidationError(fmt::format("This command requires at least {} arguments", least));
    if (into.size() > most)
      throw CLI::ValidationError(
          fmt::format("This command accept at most {} arguments but got [{}]", most, fmt::join(into, " ")));
  });
}

int run(int argc, char** argv) {
  mutable_globals().argv.assign(argv, argv + argc);
  if (argc > 1 && std::string_view(argv[argc - 1]) == "--generate-bash-completion") {
    print_completions({argv + 1, argv + argc - 1});
    return 0;
  }
  auto args = normalise(argc, argv);
  hide_secrets(argc, argv);
  // mount(8) calls helpers as "mount.zestfs SOURCE DIR -o OPTIONS"
  std::string_view program = argc > 0 ? argv[0] : "zestfs";
  if (auto slash = program.rfind('/'); slash != std::string_view::npos) program.remove_prefix(slash + 1);
  for (std::string_view helper : {"mount.zestfs", "mount.fuse.zestfs", "mount.juicefs"})
    if (program == helper) args.insert(args.begin(), "mount.helper");
  // and mount.fuse(8), for the type fuse.zestfs, as "zestfs SOURCE DIR -o OPTIONS"
  if (args.size() >= 2 && args[0].find(':') != std::string::npos && !args[0].starts_with("-"))
    args.insert(args.begin(), "mount.helper");

  std::vector<std::string> before;  // global options in front of the command
  size_t at = 0;
  while (at < args.size() && args[at].starts_with("-")) {
    bool has_value = args[at] == "--log-id" || args[at] == "--log-level" || args[at] == "--pyroscope";
    before.push_back(args[at++]);
    if (has_value && at < args.size()) before.push_back(args[at++]);
  }
  for (auto& arg : before)
    if (arg == "--version" || arg == "-V") return fmt::print("{}\n", version_text()), 0;
  if (at == args.size() || args[at] == "help" || args[at] == "h") {
    bool help = before.empty() || at < args.size();
    for (auto& arg : before) help |= arg == "--help" || arg == "-h";
    if (!help) {
      CLI::App app;
      GlobalFlags flags;
      add_globals(app, flags);
      try {
        app.parse(std::vector<std::string>(before.rbegin(), before.rend()));
      } catch (const CLI::ParseError& error) {
        fmt::print("Incorrect Usage. {}\n\n{}", error.what(), program_help());
        return complain(error.what());
      }
    }
    if (at + 1 < args.size()) {
      if (auto* command = find_command(args[at + 1])) return fmt::print("{}", command_help(*command)), 0;
      fmt::print("No help topic for '{}'\n", args[at + 1]);
      return 3;
    }
    fmt::print("{}", program_help());
    return 0;
  }
  if (auto* command = find_command(args[at])) {
    std::vector<std::string> rest(before);
    rest.insert(rest.end(), args.begin() + static_cast<std::ptrdiff_t>(at) + 1, args.end());
    return run_command(*command, rest);
  }
  for (auto& arg : before)
    if (arg == "--help" || arg == "-h") return fmt::print("{}", program_help()), 0;
  fmt::print("No help topic for '{}'\n", args[at]);
  return 3;
}

}  // namespace zest::cli
