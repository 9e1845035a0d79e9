// zestfs completion bash|zsh prints a loader for a shell; what it offers comes from the program itself, asked by a last
// argument --generate-bash-completion (docs/behaviour/cli.md, "Completion").
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>

#include "cli/option_table.h"
#include "cli/run.h"

namespace zest::cli {
namespace {

constexpr char kBash[] = R"sh(# bash completion for zestfs: source it, or put it in /etc/bash_completion.d
_zestfs() {
  local cur=${COMP_WORDS[COMP_CWORD]} offered
  offered=$("${COMP_WORDS[@]:0:COMP_CWORD}" "$cur" --generate-bash-completion 2>/dev/null)
  mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$cur")
}
complete -o bashdefault -o default -F _zestfs zestfs
)sh";

constexpr char kZsh[] = R"sh(#compdef zestfs
# zsh completion for zestfs: put it as _zestfs in a folder of $fpath, or source it after compinit
_zestfs() {
  local -a offered
  offered=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 ${words[1,CURRENT-1]} "${words[CURRENT]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n "${offered[1]}" ]]; then
    _describe 'zestfs' offered
  else
    _files
  fi
}
if [[ "${funcstack[1]}" == _zestfs ]]; then _zestfs "$@"; else compdef _zestfs zestfs; fi
)sh";

struct CompletionCommand {
  std::vector<std::string> args;
  int run() const {
    if (args[0] != "bash" && args[0] != "zsh") {
      fmt::print("No help topic for '{}'\n", args[0]);
      return 3;
    }
    fmt::print("{}", args[0] == "bash" ? kBash : kZsh);
    return 0;
  }
};

void offer(const std::string& word, const std::string& help) {
  static const bool zsh = [] {
    const char* hack = getenv("_CLI_ZSH_AUTOCOMPLETE_HACK");
    return hack && std::string_view(hack) == "1";
  }();
  if (!zsh) return fmt::print("{}\n", word);
  std::string escaped;
  for (char c : word) escaped += c == ':' ? std::string("\\:") : std::string(1, c);
  fmt::print("{}:{}\n", escaped, help);
}

void offer_options(const std::vector<OptionRow>& options) {
  for (auto& option : options)
    for (auto& name : option.names) offer(name, option.help);
}

bool wants_value(const std::vector<OptionRow>& options, const std::string& word) {
  return std::any_of(options.begin(), options.end(), [&](const OptionRow& option) {
    return option.takes_value && std::find(option.names.begin(), option.names.end(), word) != option.names.end();
  });
}

}  // namespace

// `words`: what stands on the line behind the program's name, the word to complete last; that one may be missing when
// it is empty, as the reference's loaders do.
void print_completions(const std::vector<std::string>& words) {
  auto globals = global_options();
  const Command* command = nullptr;
  size_t behind = 0;  // words behind the command's
  for (auto& word : words) {
    if (command) behind++;
    if (!command && !word.starts_with("-")) command = find_command(word);
  }
  auto last = words.empty() ? std::string() : words.back();
  bool completing_command = !command || (behind == 0 && !subcommands_of(*command).size());
  auto options = command ? options_of(*command) : std::vector<OptionRow>();
  if (last.starts_with("-")) {
    offer_options(options);
    return offer_options(globals);
  }
  if (words.size() > 1 &&
      (wants_value(options, words[words.size() - 2]) || wants_value(globals, words[words.size() - 2])))
    return;  // files
  if (completing_command) {
    for (auto& one : commands())
      if (*one.group) offer(one.name, one.summary);
  } else if (behind <= 1) {
    for (auto& sub : subcommands_of(*command)) offer(sub, command->summary);
  }
}

Runner setup_completion(CLI::App& app) {
  auto command = std::make_shared<CompletionCommand>();
  positionals(app, command->args, 1, 1);
  return [command] { return command->run(); };
}

}  // namespace zest::cli
