// One transaction over a database. It reads without locks, remembers what it read, and checks in its commit, under row
// locks taken in one order (that of Key), that all of it is still so. Locks are never held across a round trip.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "meta/engine/sql/rows.h"
#include "meta/engine/sql/sql_database.h"
#include "meta/txn.h"

namespace zest::meta::sql {

// What a statement of a commit will tell.
struct Answer {
  enum class What : uint8_t { kNothing, kRefs, kChunkLength, kStatFound } what = What::kNothing;
  Key key;
  int64_t delta = 0;
};

// The statements of a commit.
struct Plan {
  std::vector<Statement> statements;
  std::vector<Answer> answers;
  void add(const Text& text, Params params, Answer answer = {}) {
    statements.push_back({&text, std::move(params)});
    answers.push_back(std::move(answer));
  }
};

class SqlTxn : public EngineTxn {
 public:
  SqlTxn(Database& database, bool write, Stripes::Hold hold)
      : database_(database), write_(write), hold_(std::move(hold)) {}

  Result<std::vector<Value>> fetch(std::span<const Want> wants, std::vector<std::pair<Key, Value>>& followed) override;
  bool assume(std::span<const std::pair<Key, Value>> records) override;
  Result<CommitResult> commit(std::span<const Change> changes) override;

 private:
  const KindTexts& texts_of(Kind kind) const { return texts_->kinds[static_cast<size_t>(kind)]; }
  // Is there a statement for the key? None: the record cannot exist here.
  bool select(const Want& want, std::vector<Statement>& statements) const;
  Result<Value> decode(const Want& want, const Rows& rows, std::vector<std::pair<Key, Value>>& followed) const;

  // Extends the database's schema when the changes need it.
  Result<void> fit_schema(std::span<const Change> changes);
  Result<void> plan_checks(std::span<const Change> changes, Plan& plan) const;
  Result<void> plan_check(const Key& key, const Value& value, bool written, bool inserted, Plan& plan) const;
  Result<void> plan_list_check(const Key& key, const Value& value, Plan& plan) const;
  Result<void> plan_change(const Change& change, Plan& plan);
  Result<void> plan_put(const Change& change, Plan& plan);
  Result<void> plan_add(const Change& change, Plan& plan);
  CommitResult collect(const Plan& plan, const std::vector<Rows>& rows) const;

  Database& database_;
  const bool write_;
  Stripes::Hold hold_;
  std::shared_ptr<const Texts> texts_;
  std::map<Key, Value> read_;
  std::map<Key, bool> present_;  // while planning: is the record there?
};

}  // namespace zest::meta::sql
