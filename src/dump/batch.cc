#include "dump/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace zest::dump {

using meta::Change;
using meta::Key;

// One writer at a time is all that SQLite takes: the thread then only parses ahead of it.
Batch::Batch(meta::Engine& engine, int threads)
    : engine_(engine),
      pool_("load", static_cast<size_t>(engine.info().single_writer ? 1 : std::clamp(threads, 1, 64)), 4) {}

Result<void> Batch::add(Change change) {
  relative_ |= change.op == Change::Op::kAdd;
  if (auto* text = std::get_if<std::string>(&change.value)) bytes_ += text->size();
  changes_.push_back(std::move(change));
  if (changes_.size() >= 2000 || bytes_ > (2 << 20)) return hand_over();
  return {};
}

Result<void> Batch::put(const Key& key, meta::Value value) {
  return add({Change::Op::kPut, key, std::move(value), 0, Ino{0}, {}});
}

Result<void> Batch::append(Ino ino, ChunkIndex index, std::string records) {
  return add({Change::Op::kAppend, Key::chunk(ino, index), std::move(records), 0, Ino{0}, {}});
}

Result<void> Batch::new_slice(SliceId id, uint32_t size) {
  return add({Change::Op::kNewSlice, Key::slice_ref(id, size), {}, 0, Ino{0}, {}});
}

Result<void> Batch::add_ref(SliceId id, uint32_t size, int64_t delta) {
  return add({Change::Op::kAdd, Key::slice_ref(id, size), {}, delta, Ino{0}, {}});
}

Result<void> Batch::add_links(Ino ino, Ino parent, int64_t delta) {
  return add({Change::Op::kAdd, Key::parents(ino), {}, delta, parent, {}});
}

Result<void> Batch::hand_over() {
  auto changes = std::make_shared<std::vector<Change>>(std::move(changes_));
  changes_.clear();
  bytes_ = 0;
  if (relative_) pool_.drain();
  pool_.submit([this, changes] { commit(*changes); });
  if (relative_) pool_.drain();
  relative_ = false;
  return outcome();
}

void Batch::commit(const std::vector<Change>& changes) {
  if (!outcome()) return;
  for (int attempt = 0;; attempt++) {
    auto txn = engine_.begin(true, {});
    Result<void> done;
    if (!txn) {
      done = fail(std::move(txn.error()));
    } else if (auto committed = (*txn)->commit(changes); !committed) {
      done = fail(std::move(committed.error()));
    }
    if (done) return;
    if (done.error().fault == Fault::kConflict && attempt < 20) continue;
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(done.error());
    return;
  }
}

Result<void> Batch::outcome() {
  std::lock_guard lock(mutex_);
  if (error_) return fail(*error_);
  return {};
}

Result<void> Batch::finish() {
  if (!changes_.empty()) ZEST_TRY(hand_over());
  pool_.drain();
  return outcome();
}

Result<void> prepare_target(meta::Meta& meta) {
  auto loaded = meta.load();
  if (loaded) return fail(EEXIST, fmt::format("the database is used by volume {}", loaded->name));
  if (loaded.error().code != ENOENT) return fail(loaded.error());
  return meta.engine().prepare();
}

}  // namespace zest::dump
