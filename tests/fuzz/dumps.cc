// Dumps of a volume's metadata, in both formats, loaded into an empty database in memory.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/clock.h"
#include "dump/dump.h"
#include "dump/stream.h"
#include "fuzz.h"
#include "meta/api.h"

namespace zest::fuzz {

namespace {

using namespace zest::meta;

std::unique_ptr<Meta> empty_volume() {
  static int number = 0;
  auto engine = open_engine("memkv://fuzz-" + std::to_string(number++), {});
  require(engine.has_value(), "a database in memory opens");
  Options options;
  options.no_background_jobs = true;
  return std::make_unique<Meta>(std::move(*engine), system_clock(), options);
}

// A volume with some of everything that a dump can hold.
std::unique_ptr<Meta> filled_volume() {
  auto meta = empty_volume();
  Format format;
  format.name = "vol", format.uuid = "11111111-2222-4333-8444-555555555555", format.storage = "mem",
  format.bucket = "mem";
  format.enable_acl = true;
  bool good =
      meta->format(format, false).has_value() && meta->load().has_value() && meta->start_session({}).has_value();
  auto dir = meta->mkdir({}, kRootIno, "dir", 0755, 0);
  auto file = meta->create({}, dir->ino, "f\xff\n", 0644, 0, true, 2);
  const Ino ino = file->entry.ino;
  const Meta::ChunkWrite write{0, {0, SliceId{1}, 5000, 0, 5000}, {1700000000, 1}};
  good = good && meta->write(ino, {&write, 1}) && meta->setxattr({}, ino, "user.a", "\0binary", 0) &&
         meta->set_acl({}, ino, false, {7, 5, 7, 4, {{10001, 6}}, {}}) && meta->link({}, ino, kRootIno, "link") &&
         meta->symlink({}, kRootIno, "sym", "dir/f") &&
         meta->mknod({}, kRootIno, "fifo", FileType::kFifo, 0600, 0, 0) &&
         meta->set_quota(Meta::QuotaKind::kDirectory, raw(dir->ino), 1 << 30, 100, true) &&
         meta->unlink({}, kRootIno, "fifo") && meta->flush_ledgers();
  require(good, "the volume is filled");
  return meta;
}

class TextSink : public dump::Sink {
 public:
  Result<void> write(std::string_view bytes) override {
    text += bytes;
    return {};
  }
  Result<void> finish() override { return {}; }
  std::string text;
};

std::string dump_of(Meta& meta, bool json) {
  TextSink sink;
  require((json ? dump::dump_json(meta, {}, sink) : dump::dump_binary(meta, {}, sink)).has_value(),
          "the volume is dumped");
  return sink.text;
}

template <auto load>
void load_dump(std::string_view input) {
  auto meta = empty_volume();
  auto source = dump::memory_source(input);
  (void)load(*meta, {}, *source);
}

// As `load` does it: packed or not, whatever the bytes say.
void unpack(std::string_view input) {
  auto source = dump::unpacked(dump::memory_source(input));
  if (!source) return;
  char part[4096];
  for (int i = 0; i < 1000; i++)
    if (auto got = (*source)->read(part, sizeof(part)); !got || *got == 0) break;
}

void look_into(std::string_view input) {
  static const std::string path =
      std::filesystem::temp_directory_path() / ("zest-fuzz-dump-" + std::to_string(getpid()));
  std::ofstream(path, std::ios::binary) << input;
  uint32_t version = 0;
  std::string name;
  (void)dump::binary_contents(path, version);
  for (uint64_t offset : {0, 8, 100}) (void)dump::binary_segment(path, offset, name);
  std::filesystem::remove(path);
}

std::string packed(dump::Packing packing, std::string_view text) {
  const std::string path = std::filesystem::temp_directory_path() / ("zest-fuzz-pack-" + std::to_string(getpid()));
  auto sink = dump::open_sink(path, packing);
  require(sink && (*sink)->write(text) && (*sink)->finish(), "a dump is packed");
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::filesystem::remove(path);
  return bytes;
}

// The text with the first `from` after it replaced.
std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  require(at != std::string::npos, "the dump holds what is to be replaced");
  return text.replace(at, from.size(), to);
}

}  // namespace

std::vector<Target> dump_targets() {
  auto meta = filled_volume();
  const std::string json = dump_of(*meta, true), binary = dump_of(*meta, false);
  (void)meta->close_session();
  // a length whose sum overflows
  const std::string length = "\"length\":5000", endless = replaced(json, length, "\"length\":9223372036854775806");
  return {
      {"dumps.json", {json, endless}, load_dump<dump::load_json>, 4},
      {"dumps.binary", {binary}, load_dump<dump::load_binary>, 4},
      {"dumps.contents", {binary}, look_into, 8},
      {"dumps.packed", {packed(dump::Packing::kGzip, json), packed(dump::Packing::kZstd, json), json}, unpack},
  };
}

}  // namespace zest::fuzz
