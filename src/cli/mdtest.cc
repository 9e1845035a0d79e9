// zestfs mdtest: makes a tree of directories and files without FUSE and tells how fast (docs/behaviour/cli.md).
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/threads.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cli/volume_options.h"
#include "fs/filesystem.h"

namespace zest::cli {
namespace {

using Seconds = std::chrono::duration<double>;

// The access log of clients without FUSE (docs/behaviour/control.md section 4): paths instead of inodes.
class PathLog {
 public:
  Result<void> open(const std::string& file) {
    out_.open(file, std::ios::app);
    if (!out_) return fail(errno ? errno : EIO, "open " + file);
    on_ = true;
    return {};
  }
  // Runs the call and writes its line: "Mkdir (/d, 755): OK <0.000120>".
  template <class Call>
  auto timed(const char* method, const std::string& arguments, Call&& call) {
    auto start = std::chrono::steady_clock::now();
    auto result = call();
    if (on_) write(method, arguments, code_of(result), Seconds(std::chrono::steady_clock::now() - start).count());
    return result;
  }

 private:
  void write(const char* method, const std::string& arguments, int code, double seconds) {
    auto now = system_clock().now();
    time_t sec = now.sec;
    std::tm tm{};
    localtime_r(&sec, &tm);
    char when[32];
    strftime(when, sizeof when, "%Y.%m.%d %H:%M:%S", &tm);
    auto status = code ? Error{code, Fault::kPlain, {}}.message() : "OK";
    auto line = fmt::format("{}.{:06} [uid:{},gid:{},pid:{}] {} ({}): {} <{:.6f}>\n", when, now.nsec / 1000, geteuid(),
                            getegid(), getpid(), method, arguments, status, seconds);
    std::lock_guard lock(mutex_);
    out_ << line;
  }
  bool on_ = false;
  std::mutex mutex_;
  std::ofstream out_;
};

struct MdtestCommand {
  MountOptions options;
  int threads = 1, dirs = 3, depth = 2, files = 10;
  std::string write = "0", access_log;
  bool json = false;

  int run();

 private:
  struct Dir {
    std::string path;
    Ino ino{0};
  };
  Result<void> measure(fs::FileSystem& fs);
  Result<Dir> top(fs::FileSystem& fs);
  Result<Dir> make_dir(fs::FileSystem& fs, const Dir& parent, const std::string& name);
  Result<void> make_file(fs::FileSystem& fs, const Dir& dir, int number);
  // work(i) for each i below count, on the threads; the first error ends it.
  Result<void> each(size_t count, std::atomic<uint64_t>& done, const std::function<Result<void>(size_t)>& work);
  meta::Context context;
  PathLog log;
  std::vector<char> data;
  nlohmann::ordered_json out;
};

Result<void> MdtestCommand::each(size_t count, std::atomic<uint64_t>& done,
                                 const std::function<Result<void>(size_t)>& work) {
  std::atomic<size_t> next{0};
  std::mutex mutex;
  Result<void> first;
  auto worker = [&] {
    while (true) {
      size_t i = next++;
      if (i >= count) return;
      auto result = context.is_cancelled() ? Result<void>(fail(EINTR)) : work(i);
      if (result) {
        done++;
        continue;
      }
      next = count;
      std::lock_guard lock(mutex);
      if (first) first = std::move(result);
    }
  };
  ThreadPool pool("mdtest", static_cast<size_t>(threads), static_cast<size_t>(threads));
  for (int t = 0; t < threads; t++) pool.submit(worker);
  pool.drain();
  return first;
}

Result<MdtestCommand::Dir> MdtestCommand::make_dir(fs::FileSystem& fs, const Dir& parent, const std::string& name) {
  auto path = (parent.path == "/" ? "" : parent.path) + "/" + name;
  auto made = log.timed("Mkdir", path + ", 777", [&] { return fs.mkdir(context, parent.ino, name, 0777, 022); });
  if (!made) return fail(made.error().code, "mkdir " + path);
  return Dir{path, made->ino};
}

// PATH itself: its parents must be there, it may be.
Result<MdtestCommand::Dir> MdtestCommand::top(fs::FileSystem& fs) {
  Dir dir{"/", kRootIno};
  std::stringstream parts(options.args[1]);
  for (std::string name; std::getline(parts, name, '/');) {
    if (name.empty()) continue;
    auto found = fs.lookup(context, dir.ino, name);
    if (!found && found.error().code != ENOENT) return fail(found.error().code, "lookup " + name);
    if (found && !found->attr.is_dir()) return fail(ENOTDIR, options.args[1]);
    if (found) {
      dir = {(dir.path == "/" ? "" : dir.path) + "/" + name, found->ino};
      continue;
    }
    ZEST_ASSIGN(dir, make_dir(fs, dir, name));
  }
  return dir;
}

Result<void> MdtestCommand::make_file(fs::FileSystem& fs, const Dir& dir, int number) {
  auto name = fmt::format("file.mdtest.{}", number), path = (dir.path == "/" ? "" : dir.path) + "/" + name;
  auto made = log.timed("Create", path + ",666",
                        [&] { return fs.create(context, dir.ino, name, 0666, 022, O_WRONLY | O_CREAT | O_EXCL); });
  if (!made) return fail(made.error().code, "create " + path);
  Result<void> result;
  if (!data.empty()) {
    auto wrote = log.timed("Pwrite", fmt::format("{},{},0", path, data.size()),
                           [&] { return fs.write(context, made->entry.ino, made->fh, 0, data, false); });
    if (!wrote) result = fail(wrote.error().code, "write " + path);
    if (result) result = fs.flush(context, made->entry.ino, made->fh, 0);
  }
  fs.release(context, made->entry.ino, made->fh);
  return result;
}

Result<void> MdtestCommand::measure(fs::FileSystem& fs) {
  size_t level_size = 1, total = 1;
  for (int level = 0; level < depth; level++) total += level_size *= static_cast<size_t>(dirs);
  log_info(fmt::format("Create {} files in {} dirs", total * static_cast<size_t>(files), total));
  std::atomic<uint64_t> done{0}, all{total};
  auto start = std::chrono::steady_clock::now();
  auto report = [&](const char* what, size_t count) {
    double seconds = std::max(1e-9, Seconds(std::chrono::steady_clock::now() - start).count());
    double rate = static_cast<double>(count) / seconds;
    log_info(fmt::format("Created {} {} in {:.3f}s ({:.1f} {}/s)", count, what, seconds, rate, what));
    out[what] = {{"count", count}, {"seconds", seconds}, {"perSecond", rate}};
  };
  std::vector<Dir> tree;
  {
    Progress progress("Created dirs", &done, &all);
    ZEST_ASSIGN(auto first, top(fs));
    tree.push_back(std::move(first));
    done = 1;
    for (size_t begin = 0, end = 1, level = 0; level < static_cast<size_t>(depth); level++) {
      size_t children = (end - begin) * static_cast<size_t>(dirs);
      tree.resize(end + children);
      ZEST_TRY(each(children, done, [&](size_t i) -> Result<void> {
        auto name = fmt::format("mdtest_tree.{}", i % static_cast<size_t>(dirs));
        ZEST_ASSIGN(tree[end + i], make_dir(fs, tree[begin + i / static_cast<size_t>(dirs)], name));
        return {};
      }));
      begin = end, end += children;
    }
  }
  report("dirs", total);
  done = 0, all = total * static_cast<size_t>(files);
  start = std::chrono::steady_clock::now();
  {
    Progress progress("Created files", &done, &all);
    ZEST_TRY(each(all, done, [&](size_t i) { return make_file(fs, tree[i % total], static_cast<int>(i / total)); }));
  }
  report("files", all);
  return {};
}

int MdtestCommand::run() {
  if (threads < 1 || dirs < 0 || depth < 0 || files < 0) return complain("invalid argument");
  auto bytes = parse_bytes(write, 1, "write");
  if (!bytes) return complain("", bytes.error());
  data.resize(*bytes, 'm');
  if (!access_log.empty())
    if (auto opened = log.open(access_log); !opened) return complain("", opened.error());
  auto settings = resolve(options);
  if (!settings) return complain("", settings.error());
  auto client = open_client(*settings);
  if (!client) return complain("", client.error());
  context.uid = geteuid(), context.gid = getegid();
  context.cancelled = watch_interrupts();
  Result<void> result;
  {
    fs::FileSystem fs(*client->meta, *client->data, system_clock(), settings->fs);
    result = measure(fs);
    if (auto flushed = fs.flush_all(); !flushed && result) result = std::move(flushed);
  }
  if (auto closed = close_client(*client); !closed && result) result = std::move(closed);
  if (!result) return complain("mdtest", result.error());
  if (json) fmt::print("{}\n", out.dump(2));
  return 0;
}

}  // namespace

Runner setup_mdtest(CLI::App& app) {
  auto command = std::make_shared<MdtestCommand>();
  auto* c = command.get();
  positionals(app, c->options.args, 2, 2);
  app.add_option("--threads", c->threads, "threads that create");
  app.add_option("--dirs", c->dirs, "directories in each directory");
  app.add_option("--depth", c->depth, "levels of directories below PATH");
  app.add_option("--files", c->files, "files in each directory");
  app.add_option("--write", c->write, "bytes written to each file");
  app.add_option("--access-log", c->access_log, "file for the access log");
  app.add_flag("--json", c->json, "print JSON");
  c->options.entry_cache = "0.0s";
  add_client_options(app, c->options);
  return [command] { return command->run(); };
}

}  // namespace zest::cli
