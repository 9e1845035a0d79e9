// The overlay of a transaction (what it read and wrote) and the loop that runs it. Knows records, no engine.
#include "meta/txn.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <set>

#include "base/wait_notice.h"

namespace zest::meta {
namespace {

constexpr int kMaxAttempts = 50;

bool absent(const Value& value) { return std::holds_alternative<std::monostate>(value); }

template <class T>
Result<std::optional<T>> optional_of(const Value& value) {
  if (absent(value)) return std::optional<T>();
  if (auto* v = std::get_if<T>(&value)) return std::optional<T>(*v);
  return fail(EIO, "a record of another type than asked for");
}

// A list-like record: absent reads as empty.
template <class T>
Result<T> or_empty(const Value& value) {
  if (absent(value)) return T{};
  if (auto* v = std::get_if<T>(&value)) return *v;
  return fail(EIO, "a record of another type than asked for");
}

void add_to(Value& value, const DirStat& delta) {
  if (auto* stat = std::get_if<DirStat>(&value)) {
    *stat += delta;
  } else if (auto* quota = std::get_if<Quota>(&value)) {
    quota->used_space += delta.space;
    quota->used_inodes += delta.inodes;
  }
}

void apply_add(const Change& change, Value& value) {
  switch (change.key.kind) {
    case Kind::kCounter: {
      auto* old = std::get_if<int64_t>(&value);
      value = (old ? *old : 0) + change.delta;
      break;
    }
    case Kind::kSliceRef:  // what an absent one stands for only the engine knows: CommitResult tells
      if (auto* refs = std::get_if<int64_t>(&value)) *refs += change.delta;
      break;
    case Kind::kParents: {
      if (absent(value)) value = LinkCounts{};
      auto* links = std::get_if<LinkCounts>(&value);
      if (!links) break;
      auto [it, is_new] = links->try_emplace(change.ino, 0);
      it->second += change.delta;
      if (it->second <= 0) links->erase(it);
      break;
    }
    default: add_to(value, change.stat);
  }
}

// What `change` does to the record `key` as this transaction sees it.
void apply(const Change& change, const Key& key, Value& value) {
  using Op = Change::Op;
  if (change.key == key) {
    switch (change.op) {
      case Op::kPut: value = change.value; break;
      case Op::kDelete: value = std::monostate{}; break;
      case Op::kAdd: apply_add(change, value); break;
      case Op::kAppend:
      case Op::kAppendIfPresent:
        if (auto* list = std::get_if<std::string>(&value)) {
          *list += std::get<std::string>(change.value);
        } else if (change.op == Op::kAppend) {
          value = change.value;
        }
        break;
      case Op::kNewSlice:
      case Op::kLog: break;
    }
    return;
  }
  if (change.key.a != key.a) return;
  if (change.key.kind == Kind::kXattr && key.kind == Kind::kXattrs) {
    if (absent(value)) value = XattrMap{};
    auto& all = std::get<XattrMap>(value);
    if (change.op == Op::kPut) {
      all[change.key.name] = std::get<std::string>(change.value);
    } else {
      all.erase(change.key.name);
    }
  } else if (change.key.kind == Kind::kXattrs && key.kind == Kind::kXattr) {
    value = std::monostate{};
  }
}

Change make_change(Change::Op op, Key key, Value value = {}) {
  Change change{op, std::move(key), std::move(value)};
  return change;
}

}  // namespace

void Txn::record(Change change) {
  const Key& key = change.key;
  // A put or delete settles the record whether it was read or not; an addition only changes what is known.
  if (change.op == Change::Op::kPut || change.op == Change::Op::kDelete) known_[key];
  if (auto it = known_.find(key); it != known_.end()) apply(change, it->first, it->second);
  if (key.kind == Kind::kXattr) {
    if (auto it = known_.find({Kind::kXattrs, key.a}); it != known_.end()) apply(change, it->first, it->second);
  } else if (key.kind == Kind::kXattrs) {
    for (auto it = known_.lower_bound({Kind::kXattr, key.a}); it != known_.end(); ++it) {
      if (it->first.kind != Kind::kXattr || it->first.a != key.a) break;
      apply(change, it->first, it->second);
    }
  }
  changes_.push_back(std::move(change));
}

void Txn::learn(const Key& key, Value value) {
  auto [it, is_new] = known_.try_emplace(key, std::move(value));
  if (!is_new) return;
  for (const auto& change : changes_) apply(change, it->first, it->second);
}

bool Txn::knows(const Key& key) const {
  return known_.contains(key) || (key.kind == Kind::kXattr && known_.contains({Kind::kXattrs, key.a}));
}

Result<void> Txn::want(std::span<const Want> wants) {
  std::vector<Want> missing;
  std::set<Key> seen;
  auto ask = [&](Want want) {
    if (!knows(want.key) && seen.insert(want.key).second) missing.push_back(std::move(want));
  };
  for (const auto& want : wants) {
    ask(want);
    if (!want.follow && !want.follow_empty) continue;
    auto it = known_.find(want.key);
    if (it == known_.end()) continue;
    if (auto* entry = std::get_if<Entry>(&it->second)) {
      ask({Key::inode(entry->ino)});
      if (want.follow_empty && entry->type == FileType::kDirectory) ask({Key::has_entries(entry->ino)});
    }
  }
  if (missing.empty() || assume(missing)) return {};
  std::vector<std::pair<Key, Value>> followed;
  ZEST_ASSIGN(auto values, engine_.fetch(missing, followed));
  if (values.size() != missing.size()) return fail(EIO, "the engine answered another number of records");
  for (size_t i = 0; i < missing.size(); i++) followed.emplace_back(missing[i].key, std::move(values[i]));
  assume_newer(followed);
  for (auto& [key, value] : followed) learn(key, std::move(value));
  return {};
}

// Assumes all of it or nothing: when one record has to be fetched, the others come along for nothing. A directory that
// is to be removed is taken for empty.
bool Txn::assume(std::span<const Want> wants) {
  Records found;
  if (!recent_ || !recall(wants, found)) return false;
  if (engine_.await_turn() && !recall(wants, found)) return false;
  return assume(std::move(found));
}

bool Txn::recall(std::span<const Want> wants, Records& found) const {
  found.clear();
  auto look = [&](const Key& key, bool absent_if_unknown) {
    auto value = recent_->find(key, now_ms_);
    if (!value && absent_if_unknown) value = Value{};
    if (value) found.emplace_back(key, std::move(*value));
    return value.has_value();
  };
  for (const auto& want : wants) {
    if (!look(want.key, want.expect_absent)) return false;
    if (!(want.follow || want.follow_empty) || absent(found.back().second)) continue;
    const Entry entry = std::get<Entry>(found.back().second);
    if (const Key inode = Key::inode(entry.ino); !knows(inode) && !look(inode, false)) return false;
    if (want.follow_empty && entry.type == FileType::kDirectory) found.emplace_back(Key::has_entries(entry.ino), false);
  }
  return true;
}

bool Txn::assume(Records found) {
  if (found.empty() || !engine_.assume(found)) return false;
  for (auto& [key, value] : found) {
    assumed_.push_back(key);
    learn(key, std::move(value));
  }
  return true;
}

// A commit of this client that is on its way changes what was fetched: this transaction comes after it.
void Txn::assume_newer(const Records& fetched) {
  if (!recent_) return;
  engine_.await_turn();
  Records found;
  for (const auto& [key, value] : fetched) {
    auto* old = std::get_if<Attr>(&value);
    if (!old) continue;
    auto kept = recent_->find(key, now_ms_);
    if (auto* attr = kept ? std::get_if<Attr>(&*kept) : nullptr; attr && old->ctime < attr->ctime)
      found.emplace_back(key, *attr);
  }
  assume(std::move(found));
}

Result<const Value*> Txn::get(const Key& key) {
  if (auto it = known_.find(key); it != known_.end()) return &it->second;
  if (knows(key)) {  // one xattr, and all of the inode are known
    auto all = or_empty<XattrMap>(known_.at({Kind::kXattrs, key.a}));
    if (!all) return fail(std::move(all.error()));
    auto found = all->find(key.name);
    return &known_.emplace(key, found == all->end() ? Value{} : Value{found->second}).first->second;
  }
  ZEST_TRY(want({Want{key}}));
  return &known_.at(key);
}

template <class T>
Result<std::optional<T>> Txn::read_optional(const Key& key) {
  ZEST_ASSIGN(const Value* value, get(key));
  return optional_of<T>(*value);
}

template <class T>
Result<T> Txn::read_or_empty(const Key& key) {
  ZEST_ASSIGN(const Value* value, get(key));
  return or_empty<T>(*value);
}

Result<std::optional<Attr>> Txn::attr(Ino ino) { return read_optional<Attr>(Key::inode(ino)); }
Result<std::optional<Entry>> Txn::entry(Ino parent, std::string_view name) {
  return read_optional<Entry>(Key::entry(parent, name));
}

// Entries that this transaction made count. One that it removed may still be counted: the database only says whether
// there is any.
Result<bool> Txn::has_entries(Ino dir) {
  std::map<std::string_view, bool> written;
  for (const auto& change : changes_) {
    if (change.key.kind != Kind::kEntry || change.key.a != raw(dir)) continue;
    written[change.key.name] = change.op == Change::Op::kPut;
  }
  if (std::any_of(written.begin(), written.end(), [](auto& w) { return w.second; })) return true;
  return read_or_empty<bool>(Key::has_entries(dir));
}

Result<std::string> Txn::chunk(Ino ino, ChunkIndex index) { return read_or_empty<std::string>(Key::chunk(ino, index)); }
Result<std::optional<std::string>> Txn::symlink(Ino ino) { return read_optional<std::string>(Key::symlink(ino)); }
Result<std::optional<std::string>> Txn::xattr(Ino ino, std::string_view name) {
  return read_optional<std::string>(Key::xattr(ino, name));
}
Result<XattrMap> Txn::xattrs(Ino ino) { return read_or_empty<XattrMap>(Key::xattrs(ino)); }
Result<LinkCounts> Txn::parents(Ino ino) { return read_or_empty<LinkCounts>(Key::parents(ino)); }
Result<std::optional<DirStat>> Txn::dir_stat(Ino ino) { return read_optional<DirStat>(Key::dir_stat(ino)); }
Result<std::optional<Quota>> Txn::quota(const Key& key) { return read_optional<Quota>(key); }
Result<int64_t> Txn::counter(std::string_view name) { return read_or_empty<int64_t>(Key::counter(name)); }
Result<FlockMap> Txn::flocks(Ino ino) { return read_or_empty<FlockMap>(Key::flocks(ino)); }
Result<PlockMap> Txn::plocks(Ino ino) { return read_or_empty<PlockMap>(Key::plocks(ino)); }
Result<std::optional<AclRule>> Txn::acl(uint32_t id) { return read_optional<AclRule>(Key::acl(id)); }

void Txn::put(const Key& key, Value value) { record(make_change(Change::Op::kPut, key, std::move(value))); }
void Txn::erase(const Key& key) { record(make_change(Change::Op::kDelete, key)); }

void Txn::add(const Key& key, int64_t delta) {
  auto change = make_change(Change::Op::kAdd, key);
  change.delta = delta;
  record(std::move(change));
}

void Txn::add_links(Ino ino, Ino parent, int64_t delta) {
  auto change = make_change(Change::Op::kAdd, Key::parents(ino));
  change.delta = delta;
  change.ino = parent;
  record(std::move(change));
}

void Txn::add_stat(const Key& key, const DirStat& delta) {
  auto change = make_change(Change::Op::kAdd, key);
  change.stat = delta;
  record(std::move(change));
}

void Txn::append(Ino ino, ChunkIndex index, std::string records, bool only_if_present) {
  auto op = only_if_present ? Change::Op::kAppendIfPresent : Change::Op::kAppend;
  record(make_change(op, Key::chunk(ino, index), std::move(records)));
}

void Txn::new_slice(SliceId id, uint32_t size) { record(make_change(Change::Op::kNewSlice, Key::slice_ref(id, size))); }

void Txn::log(std::string line) { changes_.push_back(make_change(Change::Op::kLog, Key::setting(), std::move(line))); }

namespace {

// The pauses of one run(): between attempts that lost a race, and while the database is away.
class Pauses {
 public:
  Pauses(const Clock& clock, int64_t deadline_ms) : clock_(clock), end_ms_(clock.monotonic_ms() + deadline_ms) {}

  void after_conflict(int attempt) { sleep(0, (attempt + 1) * (attempt + 1) - 1); }
  // False when the deadline has passed.
  bool while_unavailable() {
    int64_t left = end_ms_ - clock_.monotonic_ms();
    if (left <= 0) return false;
    away_ms_ = std::min<int64_t>(1000, away_ms_ * 2);
    sleep(away_ms_ / 2, std::min(left, away_ms_));
    return true;
  }

 private:
  void sleep(int64_t from, int64_t to) {
    static thread_local std::minstd_rand random{std::random_device{}()};
    int64_t ms = std::uniform_int_distribution<int64_t>(std::min(from, to), to)(random);
    if (ms > 0) clock_.sleep_ms(ms);
  }
  const Clock& clock_;
  const int64_t end_ms_;
  int64_t away_ms_ = 10;
};

Error timed_out(Error error) {
  error.code = ETIMEDOUT;
  return error;
}

// One try of a run().
struct Attempt {
  int number;
  bool assume;              // may it?
  bool committing = false;  // was the commit sent?
  bool undecided = false;   // it came to nothing on records that were only assumed

  Result<CommitResult> go(Engine& engine, const Clock& clock, const TxnOptions& options,
                          const std::function<Result<void>(Txn&)>& body);
};

Result<CommitResult> Attempt::go(Engine& engine, const Clock& clock, const TxnOptions& options,
                                 const std::function<Result<void>(Txn&)>& body) {
  ZEST_ASSIGN(auto engine_txn, engine.begin(options.write, options.hot));
  if (options.afresh) engine_txn->read_afresh();
  Recent* recent = engine.recent();
  const int64_t now_ms = recent ? clock.monotonic_ms() : 0;
  Txn txn(*engine_txn, number, assume ? recent : nullptr, now_ms);
  auto done = body(txn);
  const bool assumed = !txn.assumed().empty();
  undecided = assumed && (done ? !txn.dirty() : done.error().fault == Fault::kPlain);
  if (undecided) return CommitResult{};
  if (done && txn.dirty() && !options.write) done = fail(EINVAL, "a read transaction tried to write");
  Result<CommitResult> result{CommitResult{}};
  committing = done && txn.dirty();
  if (committing) {
    // others go on from what is about to be written
    if (recent)
      for (const auto& [key, value] : txn.known()) recent->keep(key, value);
    result = txn.commit();
  } else if (!done) {
    result = fail(std::move(done.error()));
  }
  if (!recent) return result;
  if (committing && !result) {
    for (const auto& [key, value] : txn.known()) recent->distrust(key, now_ms);
    undecided = assumed && result.error().fault == Fault::kConflict;
  } else if (!txn.dirty()) {
    for (const auto& [key, value] : txn.known()) recent->keep_seen(key, value, now_ms);
  }
  return result;
}

// Times one run(), with its retries and pauses.
class Timed {
 public:
  Timed(CallStats& stats, bool write) : stats_(stats), write_(write) {}
  ~Timed() {
    if (write_) stats_.wrote(std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin_).count());
  }

 private:
  Calling::Engine asks_;
  CallStats& stats_;
  const bool write_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace

Result<CommitResult> run(Engine& engine, const Clock& clock, const TxnOptions& options,
                         const std::function<Result<void>(Txn&)>& body) {
  before_wait();
  Timed timed(engine.stats, options.write);
  Pauses pauses(clock, options.deadline_ms);
  bool assume = options.write;
  bool doubtful = false, asked = false;  // is a commit without an answer behind us? Was it asked what became of it?
  // It may take effect even now. So the question whether it did belongs to the transaction that is to replace it: that
  // one cannot be committed either, once the answer has changed.
  auto unless_settled = [&](Txn& txn) -> Result<void> {
    asked = false;
    ZEST_ASSIGN(const bool done, options.settled(txn));
    asked = true;
    return done ? Result<void>() : body(txn);
  };
  for (int attempt = 0;;) {
    Attempt attempted{attempt, assume && !doubtful};
    auto result =
        doubtful ? attempted.go(engine, clock, options, unless_settled) : attempted.go(engine, clock, options, body);
    if (attempted.undecided) {
      assume = false;
      continue;
    }
    const bool answered = result || result.error().fault == Fault::kPlain;
    if (answered && engine.outage.noted()) engine.outage.over(clock.monotonic_ms());
    if (result) return result;
    if (result.error().fault == Fault::kUnavailable) engine.outage.away(result.error(), clock.monotonic_ms());
    auto out_of_time = [&] {
      Error error = timed_out(std::move(result.error()));
      if (doubtful) error.fault = Fault::kUnknownOutcome;
      return fail(std::move(error));
    };
    switch (result.error().fault) {
      case Fault::kPlain:
        if (doubtful && !asked) result.error().fault = Fault::kUnknownOutcome;
        return result;
      case Fault::kConflict:
        engine.stats.lost_race(Calling::current());
        if (++attempt >= kMaxAttempts) return result;
        pauses.after_conflict(attempt - 1);
        break;
      case Fault::kUnavailable:
        if (!pauses.while_unavailable()) return out_of_time();
        break;
      case Fault::kUnknownOutcome:
        // Before the commit nothing can have happened, whatever the engine thinks.
        if (!attempted.committing) {
          if (!pauses.while_unavailable()) return out_of_time();
          break;
        }
        if (!options.settled || ++attempt >= kMaxAttempts) return result;
        doubtful = true;
        break;
    }
  }
}

Result<void> read(Engine& engine, const Clock& clock, const std::function<Result<void>(Txn&)>& body) {
  TxnOptions options;
  options.write = false;
  ZEST_TRY(run(engine, clock, options, body));
  return {};
}

}  // namespace zest::meta
