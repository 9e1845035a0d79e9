// Replies about files and trees.
#include <fmt/format.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "fs/control.h"

namespace zest::fs {
namespace {

using Json = nlohmann::ordered_json;

// Names are bytes; JSON is UTF-8.
std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string reason(const Error& error) { return std::strerror(error.code); }

Result<void> add_chunks(FileSystem& fs, Ino ino, uint64_t length, bool raw_chunks, Json& out) {
  auto format = fs.meta().format();
  uint32_t block_size = format.block_size();
  for (ChunkIndex chunk = 0; chunk * kChunkSize < length; chunk++) {
    ZEST_ASSIGN(auto view, fs.meta().read_chunk(ino, chunk));
    for (auto& piece : view.pieces) {
      if (raw_chunks || raw(piece.id) == 0) {
        Json row{{"ChunkIndex", chunk}};
        if (raw_chunks)
          row["Id"] = raw(piece.id);
        else
          row["Key"] = "";
        row["Size"] = piece.size, row["Off"] = piece.off, row["Len"] = piece.len;
        out.push_back(std::move(row));
        continue;
      }
      for (uint32_t off = piece.off; off < piece.off + piece.len;) {
        uint32_t block = off / block_size, begin = block * block_size;
        uint32_t bytes = std::min(block_size, piece.size - begin);
        uint32_t end = std::min(piece.off + piece.len, begin + bytes);
        if (end <= off) break;  // a record that claims more than its slice has
        out.push_back({{"ChunkIndex", chunk},
                       {"Key", format.name + "/" + block_key(format, piece.id, block, bytes)},
                       {"Size", bytes},
                       {"Off", off - begin},
                       {"Len", end - off}});
        off = end;
      }
    }
  }
  return {};
}

void add_locks(FileSystem& fs, Ino ino, Json& out) {
  Json posix = Json::array(), flocks = Json::array();
  if (auto sessions = fs.meta().sessions(true)) {
    for (auto& session : *sessions)
      for (auto& lock : session.locks) {
        if (lock.ino != ino) continue;
        if (lock.flock) {
          flocks.push_back({{"Sid", session.sid}, {"Owner", lock.owner}, {"Type", std::string(1, lock.flock)}});
          continue;
        }
        for (auto& range : lock.ranges)
          posix.push_back({{"Sid", session.sid},
                           {"Owner", lock.owner},
                           {"Type", static_cast<uint32_t>(range.type)},
                           {"Pid", range.pid},
                           {"Start", range.start},
                           {"End", range.end}});
      }
  }
  out["PLocks"] = std::move(posix);
  out["FLocks"] = std::move(flocks);
}

Json tree_json(const meta::TreeSummary& node) {
  Json out{{"Inode", raw(node.ino)}, {"Path", node.path},   {"Type", static_cast<int>(node.type)},
           {"Size", node.size},      {"Files", node.files}, {"Dirs", node.dirs}};
  if (!node.children.empty()) {
    Json children = Json::array();
    for (auto& child : node.children) children.push_back(tree_json(child));
    out["Children"] = std::move(children);
  }
  return out;
}

}  // namespace

std::string info_json(FileSystem& fs, const Context& context, Ino ino, bool recursive, bool raw_chunks, bool strict,
                      JobProgress& progress) {
  Json out{{"Ino", raw(ino)}, {"Failed", false}, {"Reason", ""}};
  auto summary_of = [](const meta::Summary& s) {
    return Json{{"Length", s.length}, {"Size", s.space}, {"Files", s.files}, {"Dirs", s.dirs}};
  };
  auto failed = [&](const Error& error) {
    out["Failed"] = true;
    out["Reason"] = reason(error);
    out["Summary"] = summary_of({});
    out["Paths"] = nullptr, out["Chunks"] = nullptr, out["Objects"] = nullptr;
    out["PLocks"] = nullptr, out["FLocks"] = nullptr;
    return dump(out);
  };
  (void)fs.data().flush(ino, context.cancelled);
  auto attr = fs.meta().getattr(context, ino);
  if (!attr) return failed(attr.error());
  auto summary = fs.meta().summary(context, ino, recursive, strict, &progress.a);
  if (!summary) return failed(summary.error());
  progress.a = summary->files + summary->dirs;
  progress.b = summary->space;
  auto paths = fs.meta().paths(context, ino);
  if (!paths) return failed(paths.error());
  out["Summary"] = summary_of(*summary);
  out["Paths"] = *paths;
  out["Chunks"] = nullptr, out["Objects"] = nullptr;
  if (attr->is_file()) {
    Json rows = Json::array();
    if (auto added = add_chunks(fs, ino, attr->length, raw_chunks, rows); !added) return failed(added.error());
    out[raw_chunks ? "Chunks" : "Objects"] = std::move(rows);
  }
  add_locks(fs, ino, out);
  return dump(out);
}

std::string info_text(FileSystem& fs, const Context& context, Ino ino, bool recursive, JobProgress& progress) {
  auto summary = fs.meta().summary(context, ino, recursive, false, &progress.a);
  if (!summary) return reason(summary.error());
  auto text = fmt::format("  inode: {}\n  files: {}\n   dirs: {}\n length: {}\n   size: {}\n", raw(ino), summary->files,
                          summary->dirs, format_size_exact(summary->length), format_size_exact(summary->space));
  auto paths = fs.meta().paths(context, ino);
  if (!paths || paths->empty()) return text + "   path: unknown\n";
  if (paths->size() == 1) return text + fmt::format("   path: {}\n", paths->front());
  text += "  paths:\n";
  for (auto& path : *paths) text += fmt::format("\t{}\n", path);
  return text;
}

std::string summary_json(FileSystem& fs, const Context& context, Ino ino, int depth, int top, bool strict,
                         JobProgress& progress) {
  auto tree = fs.meta().tree_summary(context, ino, std::min(depth, 10), std::min(top, 100), strict, &progress.a);
  Json out{{"Errno", code_of(tree)}, {"Tree", nullptr}};
  if (tree) {
    progress.b = tree->size;
    out["Tree"] = tree_json(*tree);
  }
  return dump(out);
}

}  // namespace zest::fs
