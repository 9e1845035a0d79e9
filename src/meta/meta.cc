// Meta itself: construction, loading a volume's settings, entering the subdirectory that is the client's root.
#include "meta/state.h"
#include "volume/records.h"

namespace zest::meta {

namespace {

constexpr int kMetaVersion = 1;  // of the format that this program can read

// Enters Options::subdir component by component, making what is missing (semantics.md 10.7).
Result<Ino> enter_subdir(Meta& meta, const std::string& subdir) {
  const Context root;
  Ino at = kRootIno;
  size_t from = 0;
  while (from < subdir.size()) {
    const size_t to = std::min(subdir.find('/', from), subdir.size());
    const std::string name = subdir.substr(from, to - from);
    from = to + 1;
    if (name.empty() || name == ".") continue;
    auto found = meta.lookup(root, at, name);
    if (!found && found.error().code == ENOENT) {
      found = meta.mkdir(root, at, name, 0777, 0);
      if (!found && found.error().code == EEXIST) found = meta.lookup(root, at, name);  // another client was faster
    }
    if (!found) return fail(std::move(found.error()));
    if (!found->attr.is_dir()) return fail(ENOTDIR, subdir);
    at = found->ino;
  }
  return at;
}

}  // namespace

Meta::Meta(std::unique_ptr<Engine> engine, const Clock& clock, Options options)
    : state_(std::make_unique<State>(std::move(engine), clock, std::move(options))) {}

Meta::~Meta() = default;

Result<Format> Meta::load() {
  State& state = *state_;
  std::string json;
  ZEST_TRY(state.read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(const Value* value, txn.get(Key::setting()));
    const auto* text = std::get_if<std::string>(value);
    if (!text) return fail(ENOENT, "the database holds no volume");
    json = *text;
    return {};
  }));
  ZEST_ASSIGN(Format format, parse_format(json));
  if (format.meta_version > kMetaVersion)
    return fail(EPERM, "the volume has metadata version " + std::to_string(format.meta_version) +
                           ", which is too new for this program");
  ZEST_TRY(check_client_version(format));
  state.set_format(format);
  ZEST_TRY(state.ledger.refresh(state));
  state.root = kRootIno;
  if (!state.options.subdir.empty()) {
    ZEST_ASSIGN(state.root, enter_subdir(*this, state.options.subdir));
  }
  return format;
}

Format Meta::format() const { return state_->format(); }
const Options& Meta::options() const { return state_->options; }
Engine& Meta::engine() { return *state_->engine; }

// Taking the hooks away ends what uses them first, so the caller may destroy them afterwards.
void Meta::set_data_hooks(DataHooks* hooks) {
  if (!hooks) {
    state_->compactor.stop();
    state_->deleter.stop();
  }
  state_->data = hooks;
}

void Meta::set_events(Events events) {
  State& state = *state_;
  state.events = std::move(events);
  auto seen = [&state](Ino ino) { return ino == state.root ? kRootIno : ino; };
  Watcher watcher;
  watcher.inode = [&state, seen](Ino ino, bool data) {
    if (data)
      state.open_files.forget(ino);
    else
      state.open_files.forget_attr(ino);
    if (state.events.inode_changed) state.events.inode_changed(seen(ino), data);
  };
  watcher.entry = [&state, seen](Ino parent, const std::string& name) {
    if (state.events.entry_changed) state.events.entry_changed(seen(parent), name);
  };
  state.engine->watch(std::move(watcher));
}

}  // namespace zest::meta
