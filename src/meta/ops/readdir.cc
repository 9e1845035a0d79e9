// Listing a directory (semantics.md 6.6), and the names of an inode (10.2).
#include <algorithm>
#include <iterator>
#include <unordered_set>

#include "meta/ops/entries.h"

namespace zest::meta {

namespace {

class EngineDirStream : public DirStream {
 public:
  EngineDirStream(State& state, Ino dir, bool with_attr)
      : state_(state),
        dir_(dir),
        with_attr_(with_attr),
        repeats_(state.engine->info().name == "redis"),
        sorts_(repeats_ && state.options.sort_dir) {}

  Result<std::vector<DirEntry>> next(size_t limit) override {
    Calling calling(state_.engine->stats, Call::kReaddir);
    Calling::Engine asking;
    if (!sorts_) return next_page(limit);
    if (!sorted_) ZEST_TRY(sort_all(limit));
    const size_t count = std::min(limit, all_.size() - given_);
    auto from = all_.begin() + static_cast<ptrdiff_t>(given_);
    given_ += count;
    return std::vector<DirEntry>(std::make_move_iterator(from),
                                 std::make_move_iterator(from + static_cast<ptrdiff_t>(count)));
  }

 private:
  Result<void> sort_all(size_t limit) {
    for (;;) {
      ZEST_ASSIGN(auto page, next_page(std::max(limit, state_.engine->info().list_batch)));
      if (page.empty()) break;
      all_.insert(all_.end(), std::make_move_iterator(page.begin()), std::make_move_iterator(page.end()));
    }
    std::sort(all_.begin(), all_.end(), [](const DirEntry& a, const DirEntry& b) { return a.name < b.name; });
    sorted_ = true;
    return {};
  }

  Result<std::vector<DirEntry>> next_page(size_t limit) {
    std::vector<DirEntry> page;
    // A page may come out empty when all its names were repetitions.
    while (!ended_ && page.empty()) {
      ZEST_ASSIGN(page, state_.engine->list(dir_, cursor_, limit, with_attr_));
      ended_ = cursor_.empty();
      if (repeats_) drop_repetitions(page);
    }
    if (with_attr_) {
      const int64_t now_ms = state_.clock.monotonic_ms();
      for (const auto& entry : page)
        if (entry.attr && entry.attr->is_file()) state_.open_files.update(entry.entry.ino, *entry.attr, now_ms);
    }
    return page;
  }

  // A cursor over a hash gives a name twice when the table grew meanwhile. Eight bytes a name are remembered, not the
  // names, so that a listing of millions stays small; two names of one hash and one inode do not occur.
  void drop_repetitions(std::vector<DirEntry>& page) {
    std::erase_if(page, [&](const DirEntry& entry) {
      const uint64_t hash = std::hash<std::string>{}(entry.name) ^ raw(entry.entry.ino) * 0x9E3779B97F4A7C15;
      return !seen_.insert(hash).second;
    });
  }

  State& state_;
  const Ino dir_;
  const bool with_attr_, repeats_, sorts_;  // the other engines list in the order of names anyway
  std::string cursor_;
  bool ended_ = false, sorted_ = false;
  std::vector<DirEntry> all_;
  size_t given_ = 0;
  std::unordered_set<uint64_t> seen_;
};

}  // namespace

Result<std::unique_ptr<DirStream>> Meta::opendir(const Context& ctx, Ino ino_in, bool with_attr) {
  Calling calling(engine().stats, Call::kNewDirHandler);
  State& state = *state_;
  const Ino ino = state.map_root(ino_in);
  ZEST_ASSIGN(const Attr attr, getattr(ctx, ino_in));
  const uint8_t mask = with_attr ? kMayRead | kMayExec : kMayRead;
  ZEST_TRY(access(ctx, ino_in, mask, &attr));
  const AtimeMode atime = state.options.read_only ? AtimeMode::kNoAtime : state.options.atime;
  if (atime_due(atime, attr, state.clock.now())) touch_atime(state, ino);
  return std::make_unique<EngineDirStream>(state, ino, with_attr);
}

Result<std::vector<DirEntry>> Meta::readdir(const Context& ctx, Ino ino, bool with_attr) {
  ZEST_ASSIGN(auto stream, opendir(ctx, ino, with_attr));
  const size_t batch = state_->engine->info().list_batch;
  std::vector<DirEntry> all;
  for (;;) {
    ZEST_ASSIGN(auto page, stream->next(batch));
    if (page.empty()) return all;
    all.insert(all.end(), std::make_move_iterator(page.begin()), std::make_move_iterator(page.end()));
  }
}

}  // namespace zest::meta
