#include "meta/bulk/orphans.h"

#include <fmt/format.h>

#include "base/external_sort.h"
#include "meta/state.h"

namespace zest::meta {

namespace {

constexpr char kLostFound[] = "lost+found";
using Inodes = ExternalSort<uint64_t>;

// Adds what `ino_of` gives for each record of a table.
Result<void> gather(Engine& engine, Table table, const Context& context, Inodes& into,
                    const std::function<Ino(const Key&, const Value&)>& ino_of) {
  Result<void> added;
  ZEST_TRY(engine.scan(table, 0, [&](const Key& key, const Value& value) {
    if (Ino ino = ino_of(key, value); raw(ino) != 0) added = into.add(raw(ino));
    return added.has_value() && !context.is_cancelled();
  }));
  ZEST_TRY(added);
  return context.is_cancelled() ? Result<void>(fail(EINTR)) : Result<void>();
}

// The inodes first: one that comes while the rest is read is no concern of ours. Then what names them, and those that
// may be without a name last: a file that loses its name meanwhile is found there.
Result<void> gather_all(Engine& engine, const Context& context, Inodes& inodes, Inodes& named) {
  ZEST_TRY(gather(engine, Table::kInodes, context, inodes, [](const Key& key, const Value& value) {
    const Ino ino{key.a};
    return ino == kRootIno || ino == kTrashIno || !std::holds_alternative<Attr>(value) ? Ino{0} : ino;
  }));
  ZEST_TRY(gather(engine, Table::kEntries, context, named, [](const Key&, const Value& value) {
    const auto* entry = std::get_if<Entry>(&value);
    return entry ? entry->ino : Ino{0};
  }));
  ZEST_TRY(
      gather(engine, Table::kSustainedTable, context, named, [](const Key& key, const Value&) { return Ino{key.b}; }));
  return gather(engine, Table::kDetachedNodes, context, named, [](const Key& key, const Value&) { return Ino{key.a}; });
}

class Finder {
 public:
  Finder(Meta& meta, const Context& context, bool repair, std::vector<Problem>& problems)
      : meta_(meta), state_(meta.state()), context_(context), repair_(repair), problems_(problems) {}

  Result<void> run() {
    Inodes inodes, named;
    ZEST_TRY(gather_all(*state_.engine, context_, inodes, named));
    ZEST_ASSIGN(auto name, named.next());
    uint64_t last = 0;
    while (true) {
      ZEST_ASSIGN(auto ino, inodes.next());
      if (!ino) break;
      if (*ino == last) continue;  // a scan may give it twice
      last = *ino;
      while (name && *name < *ino) {
        ZEST_ASSIGN(name, named.next());
      }
      if (!name || *name != *ino) ZEST_TRY(found(Ino{*ino}));
      if (context_.is_cancelled()) return fail(EINTR);
    }
    if (raw(lost_found_) == 0) return {};
    ZEST_TRY(meta_.flush_ledgers());
    if (state_.dir_stats) ZEST_TRY(state_.ledger.recount_dir(state_, lost_found_, true));
    return {};
  }

 private:
  Result<void> found(Ino ino) {
    std::optional<Attr> attr;
    ZEST_TRY(state_.read([&](Txn& txn) -> Result<void> {
      ZEST_ASSIGN(attr, txn.attr(ino));
      return {};
    }));
    if (!attr) return {};  // removed meanwhile
    ZEST_ASSIGN(const auto paths, meta_.paths(context_, ino));
    if (!paths.empty()) return {};  // moved while we looked
    const auto name = std::to_string(raw(ino));
    auto what = fmt::format("inode {} has no entry", name);
    if (repair_) {
      ZEST_TRY(attach(ino, name));
      what += fmt::format(": it is /{}/{} now", kLostFound, name);
    }
    problems_.push_back({"/", std::move(what), repair_});
    return {};
  }

  Result<void> attach(Ino ino, const std::string& name) {
    if (raw(lost_found_) == 0) {
      auto dir = meta_.lookup(Context{}, kRootIno, kLostFound);
      if (!dir && dir.error().code == ENOENT) dir = meta_.mkdir(Context{}, kRootIno, kLostFound, 0700, 0);
      if (!dir) return fail(std::move(dir.error()));
      if (!dir->attr.is_dir()) return fail(ENOTDIR, kLostFound);
      lost_found_ = dir->ino;
    }
    auto done = state_.run({lost_found_, ino}, [&](Txn& txn) -> Result<void> {
      ZEST_TRY(txn.want({{Key::inode(ino)}, {Key::inode(lost_found_)}, {Key::entry(lost_found_, name)}}));
      ZEST_ASSIGN(auto attr, txn.attr(ino));
      ZEST_ASSIGN(auto dir, txn.attr(lost_found_));
      ZEST_ASSIGN(auto taken, txn.entry(lost_found_, name));
      if (!attr || !dir || taken) return {};
      attr->parent = lost_found_;
      if (attr->is_dir()) {
        dir->nlink++;
        txn.put_attr(lost_found_, *dir);
      } else {
        attr->nlink = 1;
      }
      txn.put_attr(ino, *attr);
      Entry entry;
      entry.type = attr->type, entry.ino = ino;
      txn.put(Key::entry(lost_found_, name), entry);
      state_.change_log.add(txn, state_.clock.now(), "LINK", {ino, lost_found_, name, false}, attr->nlink);
      return {};
    });
    if (!done) return fail(std::move(done.error()));
    return {};
  }

  Meta& meta_;
  State& state_;
  const Context& context_;
  const bool repair_;
  std::vector<Problem>& problems_;
  Ino lost_found_{0};
};

}  // namespace

Result<void> check_orphans(Meta& meta, const Context& context, bool repair, std::vector<Problem>& problems) {
  return Finder(meta, context, repair, problems).run();
}

}  // namespace zest::meta
