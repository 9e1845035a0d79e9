// Cloning files and trees (semantics.md 10.4): metadata is copied, slices are shared. A directory's clone is built
// where nobody sees it and attached when it is complete.
#include <fmt/format.h>

#include <mutex>

#include "base/log.h"
#include "meta/bulk/walk.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

// Files of up to so many chunks are read without looking first which chunks there are.
constexpr uint64_t kDirectChunks = 64;
constexpr int kChangeAttempts = 20;  // of a file that somebody writes to all the time

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

  // Copies one node to a new inode, in one transaction.
  Result<Node> copy(Ino src, FileType type, const Attr* hint, Ino to, Ino parent, const std::string& name, Place place);

  Result<void> page(const WalkDirPtr& dir, std::vector<DirEntry>& entries, std::vector<WalkDirPtr>& descend) override;
  Result<bool> leave(const WalkDirPtr& dir) override;

  std::atomic<int64_t> space{0}, inodes{0};

 private:
  Result<void> copy_chunks(Txn& txn, Ino src, Ino to, const std::vector<ChunkIndex>& chunks);
  Result<Node> write_node(Txn& txn, Ino src, const Attr& from, Ino to, Ino parent, const std::string& name,
                          Place place);
  void account(const Node& node);

  State& state_;
  const Context& context_;
  const bool preserve_;
  const uint16_t umask_;
  std::atomic<uint64_t>* done_;
};

Result<void> Cloner::copy_chunks(Txn& txn, Ino src, Ino to, const std::vector<ChunkIndex>& chunks) {
  std::vector<Want> wants;
  for (ChunkIndex index : chunks) wants.push_back({Key::chunk(src, index)});
  ZEST_TRY(txn.want(wants));
  std::map<SliceRefKey, int64_t> refs;
  for (ChunkIndex index : chunks) {
    ZEST_ASSIGN(std::string records, txn.chunk(src, index));
    if (records.empty()) continue;
    ZEST_ASSIGN(const auto slices, decode_slices(records));
    for (const auto& slice : slices)
      if (raw(slice.id) != 0) refs[{slice.id, slice.size}]++;
    txn.append(to, index, std::move(records));
  }
  for (const auto& [slice, count] : refs) txn.add(Key::slice_ref(slice.id, slice.size), count);
  return {};
}

Result<Node> Cloner::write_node(Txn& txn, Ino src, const Attr& from, Ino to, Ino parent, const std::string& name,
                                Place place) {
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
  Ledger::add_inline(state_, txn, node.attr.space(), 1);
  return node;
}

Result<Node> Cloner::copy(Ino src, FileType type, const Attr* hint, Ino to, Ino parent, const std::string& name,
                          Place place) {
  std::optional<Attr> looked_at;  // when the list of chunks was taken
  std::vector<ChunkIndex> listed;
  if (hint && type == FileType::kFile && chunk_count(*hint) <= kDirectChunks)
    for (ChunkIndex i = 0; i < chunk_count(*hint); i++) listed.push_back(i);
  for (int attempt = 0; attempt < kChangeAttempts; attempt++) {
    if (context_.is_cancelled()) return fail(EINTR);
    Node node;
    bool look_again = false;
    ZEST_TRY(state_.run({src}, [&](Txn& txn) -> Result<void> {
      look_again = false;
      std::vector<Want> wants{{Key::inode(src)}, {Key::xattrs(src)}};
      if (type == FileType::kDirectory) wants.push_back({Key::dir_stat(src)});
      if (type == FileType::kSymlink) wants.push_back({Key::symlink(src)});
      if (place != Place::kInside) wants.insert(wants.end(), {{Key::inode(parent)}, {Key::entry(parent, name)}});
      for (ChunkIndex index : listed) wants.push_back({Key::chunk(src, index)});
      ZEST_TRY(txn.want(wants));
      ZEST_ASSIGN(const auto from, txn.attr(src));
      if (!from) return fail(ENOENT);
      ZEST_TRY(check_access(state_, txn, context_, *from, kMayRead));
      std::vector<ChunkIndex> chunks;
      if (from->is_file()) {
        const uint64_t count = chunk_count(*from);
        if (count <= kDirectChunks) {
          for (ChunkIndex i = 0; i < count; i++) chunks.push_back(i);
        } else if (looked_at && same_content(*looked_at, *from)) {
          chunks = listed;
        } else {
          look_again = true;
          looked_at = from;
          return {};
        }
      }
      ZEST_ASSIGN(node, write_node(txn, src, *from, to, parent, name, place));
      return copy_chunks(txn, src, to, chunks);
    }));
    if (!look_again) {
      account(node);
      return node;
    }
    listed.clear();
    ZEST_TRY(state_.engine->scan(Table::kChunks, raw(src), [&](const Key& key, const Value&) {
      if (key.a == raw(src) && key.b < chunk_count(*looked_at)) listed.push_back(static_cast<ChunkIndex>(key.b));
      return true;
    }));
  }
  return fail(EBUSY, fmt::format("inode {} changes all the time", raw(src)));
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
  for (auto& entry : entries) {
    ZEST_ASSIGN(const uint64_t id, state_.inodes.next());
    auto node = copy(entry.entry.ino, entry.entry.type, entry.attr ? &*entry.attr : nullptr, Ino{id}, target.ino,
                     entry.name, Place::kInside);
    // What vanished meanwhile is not part of the clone.
    if (!node && node.error().code == ENOENT) continue;
    ZEST_TRY(node);
    {
      std::lock_guard lock(target.mutex);
      target.counted += DirStat{static_cast<int64_t>(node->attr.data_length()), node->attr.space(), 1};
      if (node->attr.is_dir()) target.subdirs++;
    }
    if (!node->attr.is_dir()) continue;
    auto child = std::make_shared<WalkDir>(dir, entry.entry.ino, std::move(entry.name));
    child->with_attr = true;
    auto data = std::make_shared<CloneDir>();
    data->ino = Ino{id};
    data->attr = node->attr;
    data->stat = node->stat;
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
    }
    if (stat_differs) txn.put(Key::dir_stat(target.ino), target.counted);
    return {};
  }));
  return false;
}

Result<void> attach(State& state, const Context& context, Ino top, Ino parent, const std::string& name) {
  ZEST_TRY(state.run({parent}, [&](Txn& txn) -> Result<void> {
    ZEST_TRY(txn.want({{Key::inode(parent)}, {Key::entry(parent, name)}}));
    ZEST_ASSIGN(Attr attr, check_parent(state, txn, context, parent, name));
    attr.nlink++;
    touch_parent(state, txn, parent, attr, state.clock.now(), true);
    txn.put(Key::entry(parent, name), Entry{FileType::kDirectory, top});
    txn.put_attr(parent, attr);
    txn.erase(Key::detached(top));
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
  ZEST_ASSIGN(const Node node, cloner.copy(src, attr.type, &attr, to, parent, name, Place::kTopDirectory));
  auto data = std::make_shared<CloneDir>();
  data->ino = to;
  data->attr = node.attr;
  data->stat = node.stat;
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
    ZEST_ASSIGN(const Node node, cloner.copy(src, attr.type, &attr, Ino{id}, parent, name, Place::kTopFile));
    state.ledger.dir(state, parent, DirStat{static_cast<int64_t>(node.attr.data_length()), node.attr.space(), 1});
  }
  state.ledger.quota(state, parent, cloner.space, cloner.inodes);
  return {};
}

}  // namespace zest::meta
