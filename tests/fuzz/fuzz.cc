// fuzz_test GOLDEN [--inputs N | --seconds S] [--seed N] [TARGET-PREFIX ...]
//
// By default each target gets its seeds and 3000 mutations. An input that kills the program is printed in hex;
// `fuzz_test GOLDEN --hex BYTES TARGET` runs just that.
#include "fuzz.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/bytes.h"
#include "base/log.h"
#include "mutate.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// What a single decoder may ask for at once; a sanitizer ends the program at the first larger request.
extern "C" const char* __asan_default_options() { return "max_allocation_size_mb=1024:allocator_may_return_null=0"; }

namespace zest::fuzz {
namespace {

constexpr unsigned kPatience = 30;  // seconds for one input
constexpr rlim_t kMemory = 4ULL << 30;

struct Settings {
  std::string golden, hex;
  uint64_t inputs = 3000, seed = 1;
  double seconds = 0;
  std::vector<std::string> targets;
};

const Target* current_target = nullptr;
std::string_view current_input;

void print_input() {
  const std::string name = current_target ? current_target->name : "";
  const std::string hex = to_hex(current_input);
  for (std::string_view part : {std::string_view("\n"), std::string_view(name), std::string_view(" fails on "),
                                std::string_view(hex), std::string_view("\n")})
    if (::write(STDERR_FILENO, part.data(), part.size()) < 0) return;
}

void on_signal(int number) {
  std::signal(number, SIG_DFL);
  print_input();
  std::raise(number);
}

void run_one(const Target& target, std::string_view input) {
  current_target = &target;
  current_input = input;
  alarm(kPatience);
  target.run(input);
  alarm(0);
}

void run_target(const Target& target, const Settings& settings) {
  for (auto& seed : target.seeds) run_one(target, seed);
  Mutator mutator(settings.seed ^ std::hash<std::string>{}(target.name));
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(settings.seconds);
  uint64_t done = 0;
  auto more = [&] {
    if (settings.seconds > 0) return std::chrono::steady_clock::now() < end;
    return done < settings.inputs / target.share;
  };
  for (; more(); done++) run_one(target, mutator.next(target.seeds));
  std::printf("%-24s %3zu seeds %8llu mutations\n", target.name.c_str(), target.seeds.size(),
              static_cast<unsigned long long>(done));
  std::fflush(stdout);
}

Settings parse(int argc, char** argv) {
  Settings settings;
  if (argc > 1) settings.golden = argv[1];
  for (int i = 2; i < argc; i++) {
    const std::string_view arg = argv[i];
    const bool option = arg.starts_with("--") && i + 1 < argc;
    if (!option)
      settings.targets.emplace_back(arg);
    else if (arg == "--inputs")
      settings.inputs = std::strtoull(argv[++i], nullptr, 10);
    else if (arg == "--seconds")
      settings.seconds = std::strtod(argv[++i], nullptr);
    else if (arg == "--seed")
      settings.seed = std::strtoull(argv[++i], nullptr, 10);
    else if (arg == "--hex")
      settings.hex = argv[++i];
  }
  return settings;
}

std::vector<Target> chosen(const Settings& settings) {
  std::vector<Target> all;
  for (auto group :
       {record_targets(), engine_targets(settings.golden), object_targets(), dump_targets(), control_targets()})
    for (auto& target : group) all.push_back(std::move(target));
  if (settings.targets.empty()) return all;
  std::vector<Target> some;
  for (auto& target : all)
    for (auto& prefix : settings.targets)
      if (target.name.starts_with(prefix)) some.push_back(target);
  return some;
}

int run(int argc, char** argv) {
  Settings settings = parse(argc, argv);
  for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM}) std::signal(number, on_signal);
  configure_log({LogLevel::kError, "/dev/null", false, false, {}});  // nonsense would fill it
  if (!kSanitized) {
    const rlimit limit{kMemory, kMemory};
    setrlimit(RLIMIT_AS, &limit);
  }
  auto targets = chosen(settings);
  if (targets.empty()) return std::fprintf(stderr, "no such target\n"), 1;
  if (settings.seconds > 0) settings.seconds /= static_cast<double>(targets.size());
  for (auto& target : targets) {
    if (!settings.hex.empty())
      run_one(target, from_hex(settings.hex).value_or(""));
    else
      run_target(target, settings);
  }
  return 0;
}

}  // namespace

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::abort();
}

}  // namespace zest::fuzz

int main(int argc, char** argv) { return zest::fuzz::run(argc, argv); }
