// zestfs dump and load: the metadata as one file, JSON or binary (docs/format/dump.md).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <optional>

#include "base/log.h"
#include "base/mapped_file.h"
#include "cli/command.h"
#include "cli/open.h"
#include "cli/terminal.h"
#include "cli/volume_options.h"
#include "dump/dump.h"
#include "object/envelope.h"

namespace zest::cli {
namespace {

struct DumpCommand {
  std::vector<std::string> args;
  std::string subdir;
  bool keep_secrets = false, fast = false, skip_trash = false, binary = false;
  int threads = 10;

  int run();
};

int DumpCommand::run() {
  auto opened = open_volume(args[0], {});
  if (!opened) return complain("", opened.error());
  auto& meta = **opened;
  dump::DumpOptions options;
  options.keep_secrets = keep_secrets;
  options.skip_trash = skip_trash;
  options.threads = threads;
  options.cancelled = watch_interrupts();
  if (!subdir.empty() && !binary) {
    auto found = meta.resolve({}, subdir);
    if (!found) return complain("lookup " + subdir, found.error());
    if (!found->attr.is_dir()) return complain(subdir + " is no directory");
    options.root = found->ino;
  }
  std::atomic<uint64_t> done{0};
  options.progress = &done;
  std::string file = args.size() > 1 ? args[1] : "";
  auto sink = dump::open_sink(file, dump::packing_of_name(file));
  if (!sink) return complain("cannot write", sink.error());
  Result<void> dumped;
  if (file.empty()) {
    dumped = binary ? dump::dump_binary(meta, options, **sink) : dump::dump_json(meta, options, **sink);
  } else {
    Progress progress("Dumped entries", &done, nullptr);
    dumped = binary ? dump::dump_binary(meta, options, **sink) : dump::dump_json(meta, options, **sink);
  }
  if (!dumped) return complain("dump", dumped.error());
  log_info(fmt::format("Dump metadata into {} succeed", file.empty() ? "STDOUT" : file));
  return 0;
}

struct LoadCommand {
  std::vector<std::string> args;
  std::string key_file, algo = "aes256gcm-rsa";
  bool binary = false, stat = false;
  int64_t offset = 0;
  bool offset_given = false;
  int threads = 10;

  int run();
  int show();
  Result<std::unique_ptr<dump::Source>> source(std::optional<MappedFile>& decrypted);
};

int LoadCommand::show() {
  std::string name;
  if (offset_given && offset > 0) {
    auto segment = dump::binary_segment(args[0], static_cast<uint64_t>(offset), name);
    if (!segment) return complain("", segment.error());
    fmt::print("Segment: {}\nValue: {}\n", name, *segment);
    return 0;
  }
  uint32_t version = 0;
  auto contents = dump::binary_contents(args[0], version);
  if (!contents) return complain("", contents.error());
  bool offsets = offset_given && offset == -1;
  fmt::print("Backup Version: {}\n{}\n{:<10}| {:<10}{}\n{}\n", version, std::string(23, '-'), "Name", "Num",
             offsets ? "| Offset" : "", std::string(23, '-'));
  for (auto& segment : *contents)
    fmt::print("{:<10}| {:<10}|{}\n", segment.name, segment.count, offsets ? " " + segment.offsets : "");
  return 0;
}

// The dump as plain bytes: decrypted if a key is given, in a temporary file, then decompressed.
Result<std::unique_ptr<dump::Source>> LoadCommand::source(std::optional<MappedFile>& decrypted) {
  std::string file = args.size() > 1 ? args[1] : "";
  if (key_file.empty()) return dump::open_source(file);
  ZEST_ASSIGN(auto key, read_text_file(key_file));
  ZEST_ASSIGN(auto sealed, MappedFile::open(file));
  const char* passphrase = getenv("JFS_RSA_PASSPHRASE");
  ZEST_ASSIGN(auto envelope, object::Envelope::open(key, passphrase ? passphrase : "", algo));
  size_t room = sealed.view().size();
  ZEST_ASSIGN(auto plain, MappedFile::temporary(room));
  ZEST_ASSIGN(size_t size, envelope->unseal_into(sealed.view(), {plain.data(), room}));
  return dump::unpacked(dump::memory_source(decrypted.emplace(std::move(plain)).view().substr(0, size)));
}

int LoadCommand::run() {
  if (stat) return binary ? show() : complain("--stat needs --binary");
  auto opened = open_meta(args[0], {});
  if (!opened) return complain("", opened.error());
  auto& meta = **opened;
  std::optional<MappedFile> decrypted;
  std::string file = args.size() > 1 ? args[1] : "STDIN";
  auto in = source(decrypted);
  if (!in) return complain("cannot read", in.error());
  std::atomic<uint64_t> done{0};
  dump::LoadOptions options{watch_interrupts(), &done, threads};
  Result<void> loaded;
  {
    Progress progress("Loaded entries", &done, nullptr);
    loaded = binary ? dump::load_binary(meta, options, **in) : dump::load_json(meta, options, **in);
  }
  if (!loaded) return complain("load", loaded.error());
  auto format = meta.load();
  if (!format && format.error().code == EACCES)
    log_warning("Secret key was removed; please correct it with `config` command");
  else if (!format)
    return complain("the loaded volume cannot be opened", format.error());
  log_info(fmt::format("load metadata from {} succeed", file));
  return 0;
}

}  // namespace

Runner setup_dump(CLI::App& app) {
  auto command = std::make_shared<DumpCommand>();
  positionals(app, command->args, 1, 2);
  app.add_option("--subdir", command->subdir, "dump only this directory (JSON)");
  app.add_flag("--keep-secret-key", command->keep_secrets, "keep the secrets of the object storage");
  app.add_flag("--fast", command->fast, "accepted; dumping is fast as it is");
  app.add_flag("--skip-trash", command->skip_trash, "leave the trash out (JSON)");
  app.add_flag("--binary", command->binary, "write the binary format");
  app.add_option("--threads", command->threads,
                 "directories read ahead at once (JSON from a server; else a single reader is as fast)");
  return [command] { return command->run(); };
}

Runner setup_load(CLI::App& app) {
  auto command = std::make_shared<LoadCommand>();
  auto* c = command.get();
  positionals(app, c->args, 1, 2);
  app.add_option("--encrypt-rsa-key", c->key_file, "RSA key of the volume whose encrypted backup this is");
  app.add_option("--encrypt-algo", c->algo, "its algorithm");
  app.add_flag("--binary", c->binary, "the file is a binary dump");
  app.add_flag("--stat", c->stat, "show what a binary dump holds: load --binary --stat FILE");
  app.add_option("--offset", c->offset, "with --stat: -1 shows offsets, another number the segment there")
      ->each([c](const std::string&) { c->offset_given = true; });
  app.add_option("--threads", c->threads, "batches written at once (SQLite writes one after the other)");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
