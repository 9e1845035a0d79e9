#include "dump/batch.h"

#include <fmt/format.h>

namespace zest::dump {

using meta::Change;
using meta::Key;

Result<void> Batch::add(Change change) {
  if (auto* text = std::get_if<std::string>(&change.value)) bytes_ += text->size();
  changes_.push_back(std::move(change));
  if (changes_.size() >= 2000 || bytes_ > (2 << 20)) return finish();
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

Result<void> Batch::finish() {
  if (changes_.empty()) return {};
  for (int attempt = 0;; attempt++) {
    ZEST_ASSIGN(auto txn, engine_.begin(true, {}));
    auto done = txn->commit(changes_);
    if (!done && done.error().fault == Fault::kConflict && attempt < 20) continue;
    if (!done) return fail(done.error());
    break;
  }
  changes_.clear();
  bytes_ = 0;
  return {};
}

Result<void> prepare_target(meta::Meta& meta) {
  auto loaded = meta.load();
  if (loaded) return fail(EEXIST, fmt::format("the database is used by volume {}", loaded->name));
  if (loaded.error().code != ENOENT) return fail(loaded.error());
  return meta.engine().prepare();
}

}  // namespace zest::dump
