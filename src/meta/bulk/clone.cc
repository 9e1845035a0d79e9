// Cloning files and trees (semantics.md 10.4): metadata is copied, slices are shared. A directory's clone is built
// where nobody sees it and attached when it is complete.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <span>
#include <tuple>
#include <vector>

#include "base/log.h"
#include "meta/bulk/walk.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

// Files of up to so many chunks are read without looking first which chunks there are.
constexpr uint64_t kDirectChunks = 64;
constexpr int kChangeAttempts = 20;                 // of a file that somebody writes to all the time
constexpr size_t kBatch = 100, kBatchChunks = 200;  // entries in one transaction, and chunks of theirs
constexpr int kBatchAttempts = 3;                   // then one at a time: somebody writes to one of them

enum class Place { kInside, kTopFile, kTopDirectory };

struct CloneDir {
  Ino ino{0};
  std::mutex mutex;
  Attr attr;                    // as written
  std::optional<DirStat> stat;  // as written
  DirStat counted;
  uint32_t subdirs = 0;
};

struct Node {
  Attr attr;
  std::optional<DirStat> stat;
};

uint64_t chunk_count(const Attr& attr) { return attr.length == 0 ? 0 : (attr.length - 1) / kChunkSize + 1; }

// An entry to be copied, and what became of it.
struct Source {
  Source(Ino ino_in, FileType type_in, const Attr* listed, Ino to_in, std::string name_in)
      : ino(ino_in), type(type_in), to(to_in), name(std::move(name_in)) {
    if (!listed || type != FileType::kFile || chunk_count(*listed) > kDirectChunks) return;
    for (ChunkIndex i = 0; i < chunk_count(*listed); i++) chunks.push_back(i);
  }

  Ino ino;
  FileType type;
  Ino to;
  std::string name;
  std::vector<ChunkIndex> chunks;  // to be read along with it
  std::optional<Attr> looked_at;   // when those of a large file were listed
  bool again = false;              // to be copied by itself: see looked_at
  std::optional<Node> node;        // nothing, and not again: it is gone
};

bool same_content(const Attr& a, const Attr& b) {
  return a.length == b.length && a.mtime == b.mtime && a.ctime == b.ctime;
}

// Parent rules of a new name.
Result<Attr> check_parent(State& state, Txn& txn, const Context& context, Ino parent, std::string_view name) {
  ZEST_ASSIGN(auto attr, txn.attr(parent));
  if (!attr) return fail(ENOENT);
  if (!attr->is_dir()) return fail(ENOTDIR);
  if (attr->in_trash()) return fail(ENOENT);
  ZEST_TRY(check_access(state, txn, context, *attr, kMayWrite | kMayExec));
  if (attr->flags & kFlagImmutable) return fail(EPERM);
  ZEST_ASSIGN(auto entry, txn.entry(parent, name));
  if (entry) return fail(EEXIST);
  return *attr;
}

class Cloner : public Visitor {
 public:
  Cloner(State& state, const Context& context, bool preserve, uint16_t umask, std::atomic<uint64_t>* done)
      : state_(state), context_(context), preserve_(preserve), umask_(umask), done_(done) {}

  // Copies one node to a new inode.
  Result<void> copy(Source& source, Ino parent, Place place);
  // Several of one directory in one transaction; a few may need one of their own after it.
  Result<void> copy_batch(std::span<Source> sources, Ino parent);

  Result<void> page(const WalkDirPtr& dir, std::vector<DirEntry>& entries, std::vector<WalkDirPtr>& descend) override;
  Result<bool> leave(const WalkDirPtr& dir) override;

  std::atomic<int64_t> space{0}, inodes{0};

 private:
  using References = std::map<SliceRefKey, int64_t>;
  Result<void> copy_together(std::span<Source> sources, Ino parent, Place place);
  Result<void> copy_one(Txn& txn, Source& source, Ino parent, Place place, References& refs);
  Result<void> copy_chunks(Txn& txn, const Source& source, const std::vector<ChunkIndex>& chunks, References& refs);
  Result<Node> write_node(Txn& txn, const Source& source, const Attr& from, Ino parent, Place place);
  void account(const Node& node);

  State& state_;
  const Context& context_;
  const bool preserve_;
  const uint16_t umask_;
  std::atomic<uint64_t>* done_;
};

Result<void> Cloner::copy_chunks(Txn& txn, const Source& source, const std::vector<ChunkIndex>& chunks,
                                 References& refs) {
  std::vector<Want> wants;
  for (ChunkIndex index : chunks) wants.push_back({Key::chunk(source.ino, index)});
  ZEST_TRY(txn.want(wants));
  for (ChunkIndex index : chunks) {
    ZEST_ASSIGN(std::string records, txn.chunk(source.ino, index));
    if (records.empty()) continue;
    ZEST_ASSIGN(const auto slices, decode_slices(records));
    for (const auto& slice : slices)
      if (raw(slice.id) != 0) refs[{slice.id, slice.size}]++;
    txn.append(source.to, index, std::move(records));
  }
  return {};
}

Result<Node> Cloner::write_node(Txn& txn, const Source& source, const Attr& from, Ino parent, Place place) {
  const auto& [src, to, name] = std::tie(source.ino, source.to, source.name);
  const Time now = state_.clock.now();
  std::optional<Attr> parent_attr;
  if (place != Place::kInside) {
    ZEST_ASSIGN(parent_attr, check_parent(state_, txn, context_, parent, name));
  }
  Node node;
  node.attr = from;
  node.attr.parent = parent;
  if (!from.is_dir()) node.attr.nlink = 1;
  if (!preserve_) {
    node.attr.uid = context_.uid;
    node.attr.gid = context_.gid;
    node.attr.mode &= static_cast<uint16_t>(~umask_);
    node.attr.atime = node.attr.mtime = node.attr.ctime = now;
  }
  txn.put_attr(to, node.attr);
  ZEST_ASSIGN(const XattrMap xattrs, txn.xattrs(src));
  for (const auto& [key, value] : xattrs) txn.put(Key::xattr(to, key), value);
  if (from.is_dir() && state_.dir_stats) {
    ZEST_ASSIGN(node.stat, txn.dir_stat(src));
    if (node.stat) txn.put(Key::dir_stat(to), *node.stat);
  }
  if (from.type == FileType::kSymlink) {
    ZEST_ASSIGN(auto target, txn.symlink(src));
    if (target) txn.put(Key::symlink(to), std::move(*target));
  }
  if (place == Place::kTopDirectory)
    txn.put(Key::detached(to), now.sec);
  else
    txn.put(Key::entry(parent, name), Entry{from.type, to});
  if (place == Place::kTopFile && touch_parent(state_, txn, parent, *parent_attr, now, false))
    txn.put_attr(parent, *parent_attr);
  constexpr int kPreserve = 2;
  state_.change_log.add(txn, now, "CLONE",
                        {src, parent, name, to, preserve_ ? kPreserve : 0, umask_, place != Place::kInside}, to);
  return node;
}

Result<void> Cloner::copy_one(Txn& txn, Source& source, Ino parent, Place place, References& refs) {
  ZEST_ASSIGN(const auto from, txn.attr(source.ino));
  if (!from) return {};
  ZEST_TRY(check_access(state_, txn, context_, *from, kMayRead));
  std::vector<ChunkIndex> chunks;
  if (from->is_file()) {
    const uint64_t count = chunk_count(*from);
    if (count <= kDirectChunks) {
      for (ChunkIndex i = 0; i < count; i++) chunks.push_back(i);
    } else if (source.looked_at && same_content(*source.looked_at, *from)) {
      chunks = source.chunks;
    } else {
      source.again = true;
      source.looked_at = from;
      return {};
    }
  }
  ZEST_ASSIGN(source.node, write_node(txn, source, *from, parent, place));
  return copy_chunks(txn, source, chunks, refs);
}

Result<void> Cloner::copy_together(std::span<Source> sources, Ino parent, Place place) {
  std::vector<Want> wants;
  if (place != Place::kInside) wants = {{Key::inode(parent)}, {Key::entry(parent, sources[0].name)}};
  for (const auto& source : sources) {
    wants.insert(wants.end(), {{Key::inode(source.ino)}, {Key::xattrs(source.ino)}});
    if (source.type == FileType::kDirectory) wants.push_back({Key::dir_stat(source.ino)});
    if (source.type == FileType::kSymlink) wants.push_back({Key::symlink(source.ino)});
    for (ChunkIndex index : source.chunks) wants.push_back({Key::chunk(source.ino, index)});
  }
  const Source* written = nullptr;
  auto body = [&](Txn& txn) -> Result<void> {
    const bool too_busy = sources.size() > 1 && txn.attempt() >= kBatchAttempts;
    if (!too_busy) ZEST_TRY(txn.want(wants));
    References refs;
    written = nullptr;
    int64_t bytes = 0, nodes = 0;
    for (auto& source : sources) {
      source.node.reset();
      source.again = too_busy;
      if (!too_busy) ZEST_TRY(copy_one(txn, source, parent, place, refs));
      if (!source.node) continue;
      written = &source;
      bytes += source.node->attr.space();
      nodes++;
    }
    for (const auto& [slice, count] : refs) txn.add(Key::slice_ref(slice.id, slice.size), count);
    Ledger::add_inline(state_, txn, bytes, nodes);
    return {};
  };
  TxnOptions options;
  options.hot = {sources[0].ino};
  options.settled = [&](Txn& txn) -> Result<bool> {
    ZEST_ASSIGN(auto attr, txn.attr(written->to));
    return attr.has_value();
  };
  ZEST_TRY(run(*state_.engine, state_.clock, options, body));
  for (const auto& source : sources)
    if (source.node) account(*source.node);
  return {};
}

Result<void> Cloner::copy(Source& source, Ino parent, Place place) {
  for (int attempt = 0; attempt < kChangeAttempts; attempt++) {
    if (context_.is_cancelled()) return fail(EINTR);
    if (source.looked_at) {
      source.chunks.clear();
      ZEST_TRY(state_.engine->scan(Table::kChunks, raw(source.ino), [&](const Key& key, const Value&) {
        if (key.a == raw(source.ino) && key.b < chunk_count(*source.looked_at))
          source.chunks.push_back(static_cast<ChunkIndex>(key.b));
        return true;
      }));
    }
    ZEST_TRY(copy_together({&source, 1}, parent, place));
    if (!source.again) return {};
  }
  return fail(EBUSY, fmt::format("inode {} changes all the time", raw(source.ino)));
}

Result<void> Cloner::copy_batch(std::span<Source> sources, Ino parent) {
  if (context_.is_cancelled()) return fail(EINTR);
  ZEST_TRY(copy_together(sources, parent, Place::kInside));
  for (auto& source : sources)
    if (source.again) ZEST_TRY(copy(source, parent, Place::kInside));
  return {};
}

void Cloner::account(const Node& node) {
  state_.ledger.volume(state_, node.attr.space(), 1);
  state_.ledger.owner(state_, node.attr.uid, node.attr.gid, node.attr.space(), 1);
  space += node.attr.space();
  inodes++;
  if (done_) ++*done_;
}

Result<void> Cloner::page(const WalkDirPtr& dir, std::vector<DirEntry>& entries, std::vector<WalkDirPtr>& descend) {
  auto& target = *static_cast<CloneDir*>(dir->data.get());
  std::vector<Source> sources;
  for (auto& entry : entries) {
    ZEST_ASSIGN(const uint64_t id, state_.inodes.next());
    sources.emplace_back(entry.entry.ino, entry.entry.type, entry.attr ? &*entry.attr : nullptr, Ino{id},
                         std::move(entry.name));
  }
  for (size_t from = 0, to = 0; from < sources.size(); from = to) {
    size_t chunks = 0;
    while (to < sources.size() && to - from < kBatch && chunks < kBatchChunks) chunks += sources[to++].chunks.size();
    ZEST_TRY(copy_batch(std::span(sources).subspan(from, to - from), target.ino));
  }
  std::lock_guard lock(target.mutex);
  for (auto& source : sources) {
    if (!source.node) continue;  // what vanished meanwhile is not part of the clone
    const Attr& attr = source.node->attr;
    target.counted += DirStat{static_cast<int64_t>(attr.data_length()), attr.space(), 1};
    if (!attr.is_dir()) continue;
    target.subdirs++;
    auto child = std::make_shared<WalkDir>(dir, source.ino, std::move(source.name));
    child->with_attr = true;
    auto data = std::make_shared<CloneDir>();
    data->ino = source.to;
    data->attr = attr;
    data->stat = source.node->stat;
    child->data = std::move(data);
    descend.push_back(std::move(child));
  }
  return {};
}

// What was copied with the directory but does not fit what is in it.
Result<bool> Cloner::leave(const WalkDirPtr& dir) {
  auto& target = *static_cast<CloneDir*>(dir->data.get());
  const uint32_t nlink = 2 + target.subdirs;
  const bool stat_differs = state_.dir_stats && (!target.stat || !(*target.stat == target.counted));
  if (target.attr.nlink == nlink && !stat_differs) return false;
  ZEST_TRY(state_.run({target.ino}, [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto attr, txn.attr(target.ino));
    if (!attr) return {};
    if (attr->nlink != nlink) {
      attr->nlink = nlink;
      txn.put_attr(target.ino, *attr);
      state_.change_log.add(txn, state_.clock.now(), "REPAIRDIR", {target.ino});
    }
    if (!stat_differs) return {};
    txn.put(Key::dir_stat(target.ino), target.counted);
    log_dir_stat(state_, txn, target.ino, target.counted);
    return {};
  }));
  return false;
}

Result<void> attach(State& state, const Context& context, Ino top, Ino parent, const std::string& name) {
  ZEST_TRY(state.run({parent}, [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(parent)}, {Key::entry(parent, name)}}));
    ZEST_ASSIGN(Attr attr, check_parent(state, txn, context, parent, name));
    attr.nlink++;
    const Time now = state.clock.now();
    touch_parent(state, txn, parent, attr, now, true);
    txn.put(Key::entry(parent, name), Entry{FileType::kDirectory, top});
    txn.put_attr(parent, attr);
    txn.erase(Key::detached(top));
    state.change_log.add(txn, now, "ATTACH", {top, parent, name});
    return {};
  }));
  return {};
}

// A directory cannot be cloned into itself.
Result<void> check_outside(State& state, Ino src, Ino dir) {
  for (int depth = 0; depth < (1 << 16); depth++) {
    if (dir == src) return fail(EINVAL);
    if (dir == kRootIno || raw(dir) == 0) return {};
    ZEST_ASSIGN(dir, state.ledger.parent_of(state, dir));
  }
  return fail(ELOOP);
}

// The rules that need no look at the tree.
Result<Attr> check_clone(State& state, const Context& context, Ino src, Ino parent, const std::string& name) {
  if (is_trash(src) || is_trash(parent) || (parent == kRootIno && name == kTrashName)) return fail(EPERM);
  ZEST_TRY(state.writable());
  if (name.empty()) return fail(ENOENT);
  if (int code = check_name(name)) return fail(code);
  if (name == "." || name == "..") return fail(EEXIST);
  std::optional<Attr> attr;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(src)}, {Key::inode(parent)}, {Key::entry(parent, name)}}));
    ZEST_ASSIGN(attr, txn.attr(src));
    if (!attr) return fail(ENOENT);
    ZEST_TRY(check_access(state, txn, context, *attr, kMayRead));
    ZEST_TRY(check_parent(state, txn, context, parent, name));
    return {};
  }));
  return *attr;
}

Result<void> build_directory(Meta& meta, Cloner& cloner, const Context& context, const Attr& attr, Ino src, Ino to,
                             Ino parent, const std::string& name, int threads) {
  State& state = meta.state();
  Source source(src, attr.type, &attr, to, name);
  ZEST_TRY(cloner.copy(source, parent, Place::kTopDirectory));
  if (!source.node) return fail(ENOENT);
  auto data = std::make_shared<CloneDir>();
  data->ino = to;
  data->attr = source.node->attr;
  data->stat = source.node->stat;
  auto top = std::make_shared<WalkDir>(nullptr, src, name);
  top->with_attr = true;
  top->data = std::move(data);
  WalkOptions options;
  options.threads = threads;
  options.writes = true;
  options.cancelled = context.cancelled;
  auto built = walk(*state.engine, options, top, cloner);
  if (built) built = attach(state, context, to, parent, name);
  if (built) return {};
  if (auto removed = remove_detached(meta, to); !removed)
    log_warning(fmt::format("the unfinished clone {} stays for gc: {}", raw(to), removed.error().message()));
  return built;
}

}  // namespace

Result<void> Meta::clone(const Context& context, Ino src, Ino dst_parent, std::string_view name_view, bool preserve,
                         uint16_t umask, int threads, std::atomic<uint64_t>* done, std::atomic<uint64_t>* total) {
  Calling calling(engine().stats, Call::kClone);
  State& state = *state_;
  src = state.map_root(src);
  const Ino parent = state.map_root(dst_parent);
  const std::string name(name_view);
  ZEST_ASSIGN(const Attr attr, check_clone(state, context, src, parent, name));
  if (attr.is_dir()) ZEST_TRY(check_outside(state, src, parent));
  ZEST_ASSIGN(const Summary sum, summary(context, src, true, false));
  if (total) *total = sum.files + sum.dirs;
  const auto space = static_cast<int64_t>(sum.space), inodes = static_cast<int64_t>(sum.files + sum.dirs);
  ZEST_TRY(state.ledger.check_volume(state, space, inodes));
  ZEST_TRY(state.ledger.check_quota(state, context, parent, space, inodes));
  if (!preserve) ZEST_TRY(state.ledger.check_owner(state, context.uid, context.gid, space, inodes));

  Cloner cloner(state, context, preserve, umask, done);
  ZEST_ASSIGN(const uint64_t id, state.inodes.next());
  if (attr.is_dir()) {
    ZEST_TRY(build_directory(*this, cloner, context, attr, src, Ino{id}, parent, name, threads));
    state.ledger.remember_parent(Ino{id}, parent);
    state.ledger.dir(state, parent, DirStat{0, 4096, 1});
  } else {
    Source source(src, attr.type, &attr, Ino{id}, name);
    ZEST_TRY(cloner.copy(source, parent, Place::kTopFile));
    if (!source.node) return fail(ENOENT);
    const Attr& made = source.node->attr;
    state.ledger.dir(state, parent, DirStat{static_cast<int64_t>(made.data_length()), made.space(), 1});
  }
  state.ledger.quota(state, parent, cloner.space, cloner.inodes);
  return {};
}

}  // namespace zest::meta
