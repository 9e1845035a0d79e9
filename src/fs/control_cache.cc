// Requests that walk files: warm-up, eviction, a look at the cache, compaction.
#include <fmt/format.h>

#include <deque>
#include <nlohmann/json.hpp>
#include <set>

#include "base/bytes.h"
#include "base/log.h"
#include "base/threads.h"
#include "fs/control.h"

namespace zest::fs {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kMaxLinks = 40;

// From the mount's root; links inside the volume are followed, absolute ones refused.
Result<EntryAttr> find_path(FileSystem& fs, const Context& context, std::string_view path) {
  if (path.starts_with("inode:")) {
    auto number = parse_uint(path.substr(6));
    if (!number) return fail(EINVAL);
    ZEST_ASSIGN(auto attr, fs.meta().getattr(context, Ino{*number}));
    return EntryAttr{Ino{*number}, attr, true};
  }
  std::deque<std::string> parts;
  auto push_front = [&](std::string_view text) {
    std::vector<std::string> split;
    while (!text.empty()) {
      auto slash = text.find('/');
      if (slash != 0) split.emplace_back(text.substr(0, slash));
      text.remove_prefix(slash == text.npos ? text.size() : slash + 1);
    }
    parts.insert(parts.begin(), split.begin(), split.end());
  };
  push_front(path);
  ZEST_ASSIGN(auto root, fs.meta().getattr(context, kRootIno));
  EntryAttr at{kRootIno, root, true};
  for (int links = 0; !parts.empty();) {
    auto part = std::move(parts.front());
    parts.pop_front();
    ZEST_ASSIGN(auto next, fs.meta().lookup(context, at.ino, part));
    if (next.attr.type == FileType::kSymlink) {
      if (++links > kMaxLinks) return fail(ELOOP);
      ZEST_ASSIGN(auto target, fs.meta().readlink(context, next.ino));
      if (target.starts_with('/')) return fail(ENOTSUP);
      push_front(target);
      continue;
    }
    at = std::move(next);
  }
  return at;
}

struct Totals {
  std::mutex mutex;
  uint64_t files = 0, slices = 0, bytes = 0, missing = 0;
  std::map<std::string, uint64_t> locations;
};

uint64_t count_slices(FileSystem& fs, Ino ino, uint64_t length) {
  std::set<uint64_t> ids;
  for (ChunkIndex chunk = 0; chunk * kChunkSize < length; chunk++) {
    auto view = fs.meta().read_chunk(ino, chunk);
    if (!view) break;
    for (auto& piece : view->pieces)
      if (raw(piece.id) != 0) ids.insert(raw(piece.id));
  }
  return ids.size();
}

std::string to_json(const Totals& totals) {
  Json locations = Json::object();
  for (auto& [place, bytes] : totals.locations) locations[place] = bytes;
  Json out{{"FileCount", totals.files},
           {"SliceCount", totals.slices},
           {"TotalBytes", totals.bytes},
           {"MissBytes", totals.missing},
           {"Locations", locations}};
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Result<void> walk_files(FileSystem& fs, const Context& context, Ino ino,
                        const std::function<Result<void>(Ino, const Attr&)>& each) {
  ZEST_ASSIGN(auto attr, fs.meta().getattr(context, ino));
  if (attr.is_file()) return each(ino, attr);
  std::vector<Ino> dirs;
  if (attr.is_dir()) dirs.push_back(ino);
  while (!dirs.empty()) {
    Ino dir = dirs.back();
    dirs.pop_back();
    auto stream = fs.meta().opendir(context, dir, true);
    if (!stream) {
      if (stream.error().code == ENOENT) continue;  // removed meanwhile
      return fail(std::move(stream.error()));
    }
    while (true) {
      if (context.is_cancelled()) return fail(EINTR);
      ZEST_ASSIGN(auto batch, (*stream)->next(1000));
      if (batch.empty()) break;
      for (auto& entry : batch) {
        if (entry.entry.type == FileType::kDirectory) dirs.push_back(entry.entry.ino);
        if (entry.entry.type == FileType::kFile && entry.attr) ZEST_TRY(each(entry.entry.ino, *entry.attr));
      }
    }
  }
  return {};
}

std::string empty_cache_json() { return to_json(Totals{}); }

std::string cache_json(FileSystem& fs, const Context& context, std::string_view paths, int threads,
                       data::Data::CacheAction action, JobProgress& progress) {
  Totals totals;
  {
    ThreadPool pool("warmup", static_cast<size_t>(std::clamp(threads, 1, 512)), 1024);
    auto one = [&](Ino ino, uint64_t length) {
      if (context.is_cancelled()) return;
      auto state = fs.data().cache_file(ino, length, action);
      if (!state) {
        log_warning(fmt::format("cache of inode {}: {}", raw(ino), state.error().message()));
        return;
      }
      uint64_t slices = count_slices(fs, ino, length);
      std::lock_guard lock(totals.mutex);
      totals.files++, totals.slices += slices, totals.bytes += state->bytes;
      progress.a = totals.files, progress.b = totals.bytes;
      if (action != data::Data::CacheAction::kCheck) return;
      totals.missing += state->bytes - std::min(state->bytes, state->cached_bytes);
      for (auto& [place, bytes] : state->locations) totals.locations[place] += bytes;
    };
    while (!paths.empty() && !context.is_cancelled()) {
      auto path = paths.substr(0, paths.find('\n'));
      paths.remove_prefix(std::min(paths.size(), path.size() + 1));
      if (path.empty()) continue;
      auto found = find_path(fs, context, path);
      Result<void> walked;
      if (found)
        walked = walk_files(fs, context, found->ino, [&](Ino ino, const Attr& attr) -> Result<void> {
          pool.submit([&one, ino, length = attr.length] { one(ino, length); });
          return {};
        });
      if (!found || !walked)
        log_warning(fmt::format("cache of {}: {}", path, found ? walked.error().message() : found.error().message()));
    }
    pool.drain();
  }
  return to_json(totals);
}

Result<void> compact_tree(FileSystem& fs, const Context& context, Ino ino, int threads, JobProgress& progress) {
  ThreadPool pool("compact", static_cast<size_t>(std::clamp(threads, 1, 512)), 1024);
  std::atomic<int> code{0};
  auto walked = walk_files(fs, context, ino, [&](Ino file, const Attr& attr) -> Result<void> {
    for (ChunkIndex chunk = 0; chunk * kChunkSize < attr.length; chunk++) {
      progress.a++;
      pool.submit([&, file, chunk] {
        if (!context.is_cancelled())
          if (auto done = fs.meta().compact_chunk(file, chunk); !done && done.error().code != ENOENT)
            code = done.error().code;
        progress.b++;
      });
    }
    return {};
  });
  pool.drain();
  ZEST_TRY(std::move(walked));
  if (context.is_cancelled()) return fail(EINTR);
  if (code != 0) return fail(code);
  return {};
}

}  // namespace zest::fs
