// zestfs why: how one file is stored, and what reading it costs: slices, fragmentation, cached share, round trips.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/control_client.h"
#include "cli/mount_files.h"
#include "cli/terminal.h"
#include "cli/volume_options.h"

namespace zest::cli {
namespace {

using Json = nlohmann::ordered_json;

struct WhyCommand {
  std::vector<std::string> args;
  std::string read_size = "64M";
  bool json = false;

  int run();
  Result<Json> ask(uint32_t op, const std::string& body);
  Result<Json> info(bool slices);
  Result<Json> stored();
  Result<Json> cached();
  Result<Json> read(uint64_t most);

  std::string path, mount;
  uint64_t ino = 0, length = 0;
};

Result<Json> WhyCommand::ask(uint32_t op, const std::string& body) {
  ZEST_ASSIGN(auto control, ControlClient::open(path));
  ZEST_ASSIGN(auto reply, control.request(op, body, nullptr, watch_interrupts()));
  auto parsed = Json::parse(reply, nullptr, false);
  if (!parsed.is_object()) return fail(EPROTO, "the mount gave an answer that is no JSON object");
  return parsed;
}

Result<Json> WhyCommand::info(bool slices) {
  std::string body;
  put_be64(body, ino);
  put_u8(body, 0);
  put_u8(body, slices);
  put_u8(body, 0);
  ZEST_ASSIGN(auto reply, ask(op::kInfo, body));
  if (reply.value("Failed", false)) return fail(EIO, reply.value("Reason", "info failed"));
  auto rows = reply.value(slices ? "Chunks" : "Objects", Json::array());
  return rows.is_array() ? rows : Json::array();
}

uint64_t member(const Json& row, const char* name) { return row.value(name, uint64_t{0}); }

// Pieces of slices that follow each other in a chunk: of how many a file consists, and how much of them it still uses.
Result<Json> WhyCommand::stored() {
  ZEST_ASSIGN(auto pieces, info(true));
  ZEST_ASSIGN(auto blocks, info(false));
  std::set<uint64_t> chunks, slices;
  uint64_t holes = 0, hole_bytes = 0, parts = 0, used = 0, kept = 0;
  for (auto& piece : pieces) {
    chunks.insert(member(piece, "ChunkIndex"));
    uint64_t bytes = member(piece, "Len");
    if (member(piece, "Id") == 0) {
      holes++, hole_bytes += bytes;
      continue;
    }
    parts++, used += bytes;
    if (slices.insert(member(piece, "Id")).second) kept += member(piece, "Size");
  }
  std::set<std::string> objects;
  uint64_t requests = 0;
  for (auto& block : blocks)
    if (auto key = block.value("Key", ""); !key.empty()) requests++, objects.insert(key);
  double per_chunk = chunks.empty() ? 0 : static_cast<double>(parts) / static_cast<double>(chunks.size());
  return Json{{"chunks", chunks.size()},     {"slices", slices.size()}, {"pieces", parts},
              {"piecesPerChunk", per_chunk}, {"holes", holes},          {"holeBytes", hole_bytes},
              {"usedBytes", used},           {"keptBytes", kept},       {"objects", objects.size()},
              {"objectReads", requests}};
}

Result<Json> WhyCommand::cached() {
  std::string body, name = fmt::format("inode:{}", ino);
  put_be32(body, static_cast<uint32_t>(name.size()));
  body += name;
  put_be16(body, 1);
  put_u8(body, 0);
  put_u8(body, 2);  // check
  ZEST_ASSIGN(auto reply, ask(op::kCache, body));
  uint64_t total = member(reply, "TotalBytes"), missing = std::min(total, member(reply, "MissBytes"));
  double share = total ? 1 - static_cast<double>(missing) / static_cast<double>(total) : 0;
  return Json{{"bytes", total - missing},
              {"of", total},
              {"share", share},
              {"locations", reply.value("Locations", Json::object())}};
}

// Reads up to `most` bytes past the kernel's cache and looks what the mount counted meanwhile.
Result<Json> WhyCommand::read(uint64_t most) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(errno, "open " + path);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  auto before = MountStats::read(mount);
  auto started = std::chrono::steady_clock::now();
  std::vector<char> buffer(1 << 20);
  uint64_t bytes = 0;
  ssize_t n = 1;
  int error = 0;
  while (before && bytes < most && n > 0 && !*watch_interrupts()) {
    n = ::read(fd, buffer.data(), std::min<uint64_t>(buffer.size(), most - bytes));
    if (n < 0) error = errno;
    if (n > 0) bytes += static_cast<uint64_t>(n);
  }
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  close(fd);
  if (error) return fail(error, "read " + path);
  ZEST_TRY(before);
  ZEST_ASSIGN(auto after, MountStats::read(mount));
  auto delta = [&](const std::string& name) { return static_cast<uint64_t>(after[name] - (*before)[name]); };
  double get_seconds = after["object_request_durations_histogram_seconds_GET_sum"] -
                       (*before)["object_request_durations_histogram_seconds_GET_sum"];
  return Json{{"bytes", bytes},
              {"seconds", seconds},
              {"requests", delta("fuse_ops_total_read")},
              {"metaOperations", delta("meta_ops_durations_histogram_seconds_total")},
              {"metaTransactions", delta("transaction_durations_histogram_seconds_total")},
              {"objectGets", delta("object_request_durations_histogram_seconds_GET_total")},
              {"objectBytes", delta("object_request_data_bytes_GET")},
              {"objectSeconds", get_seconds},
              {"cacheHits", delta("blockcache_hits")},
              {"cacheHitBytes", delta("blockcache_hit_bytes")},
              {"cacheMisses", delta("blockcache_miss")}};
}

void print_stored(const Json& s) {
  uint64_t used = member(s, "usedBytes"), kept = member(s, "keptBytes");
  fmt::print("   stored: {} pieces of {} slices in {} chunks ({:.1f} pieces a chunk)\n", member(s, "pieces"),
             member(s, "slices"), member(s, "chunks"), s["piecesPerChunk"].get<double>());
  if (member(s, "holes")) fmt::print("    holes: {}, {}\n", member(s, "holes"), format_size(member(s, "holeBytes")));
  fmt::print("    space: {} of {} in its slices are in use ({:.1f}%)\n", format_size(used), format_size(kept),
             kept ? 100.0 * static_cast<double>(used) / static_cast<double>(kept) : 100.0);
  fmt::print("  objects: {}, in {} reads when nothing is cached\n", member(s, "objects"), member(s, "objectReads"));
}

void print_read(const Json& r) {
  fmt::print("     read: {} in {:.3f} s, {} requests of the kernel\n", format_size(member(r, "bytes")),
             r["seconds"].get<double>(), member(r, "requests"));
  fmt::print(" metadata: {} operations, {} transactions\n", member(r, "metaOperations"), member(r, "metaTransactions"));
  fmt::print("  storage: {} requests, {}, {:.3f} s of waiting in all\n", member(r, "objectGets"),
             format_size(member(r, "objectBytes")), r["objectSeconds"].get<double>());
  fmt::print("    cache: {} hits ({}), {} misses\n", member(r, "cacheHits"), format_size(member(r, "cacheHitBytes")),
             member(r, "cacheMisses"));
}

// What a person would do about it.
std::vector<std::string> advice(const Json& all) {
  std::vector<std::string> out;
  auto& s = all["stored"];
  if (s["piecesPerChunk"].get<double>() >= 5) out.push_back("many small pieces: `zestfs compact` merges them");
  if (member(s, "keptBytes") > 2 * member(s, "usedBytes") && member(s, "usedBytes") > 0)
    out.push_back("more than half of its slices is overwritten: `zestfs compact` frees it");
  if (all["cached"]["share"].get<double>() < 0.5 && member(all["cached"], "of") > 0)
    out.push_back("mostly not cached here: `zestfs warmup` fetches it");
  return out;
}

int WhyCommand::run() {
  path = absolute_path(args[0]);
  auto most = parse_bytes(read_size, uint64_t{1} << 20, "read-size");
  if (!most) return complain("", most.error());
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) return complain("why " + path, Error{errno, Fault::kPlain, {}});
  if (!S_ISREG(st.st_mode)) return complain(path + " is no regular file");
  auto root = mount_root_of(path);
  if (!root) return complain("", root.error());
  mount = *root, ino = st.st_ino, length = static_cast<uint64_t>(st.st_size);
  watch_interrupts();
  Json all{{"path", path}, {"inode", ino}, {"length", length}, {"links", st.st_nlink}};
  auto add = [&](const char* name, Result<Json> part) -> Result<void> {
    if (!part) return fail(std::move(part.error()));
    all[name] = std::move(*part);
    return {};
  };
  auto done = add("stored", stored());
  if (done) done = add("cached", cached());  // before reading, which fills the cache
  if (done && *most > 0) done = add("read", read(*most));
  if (!done) return complain("why " + path, done.error());
  all["advice"] = advice(all);
  if (json) return fmt::print("{}\n", all.dump(2, ' ', false, Json::error_handler_t::replace)), 0;
  fmt::print("{} :\n    inode: {}\n   length: {}\n", path, ino, format_size_exact(length));
  print_stored(all["stored"]);
  fmt::print("   cached: {} of {} ({:.1f}%)\n", format_size(member(all["cached"], "bytes")),
             format_size(member(all["cached"], "of")), 100 * all["cached"]["share"].get<double>());
  if (all.contains("read")) print_read(all["read"]);
  for (auto& line : all["advice"]) fmt::print("   advice: {}\n", line.get<std::string>());
  return 0;
}

}  // namespace

Runner setup_why(CLI::App& app) {
  auto command = std::make_shared<WhyCommand>();
  positionals(app, command->args, 1, 1);
  app.add_option("--read-size", command->read_size,
                 "read at most this much of it to see the cost, in MiB; 0: do not read");
  app.add_flag("--json", command->json, "print JSON");
  return [command] { return command->run(); };
}

}  // namespace zest::cli
