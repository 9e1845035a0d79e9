// The arguments of the commit script, built from what a transaction read and what it changes.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "meta/engine/redis/layout.h"

namespace zest::meta::redis {

using ReadSet = std::map<Key, std::vector<Raw>>;

class Commit {
 public:
  Commit(const Layout& layout, const ReadSet& reads) : layout_(layout), reads_(reads), args_(2) {}

  // First these, then finish(), then the others.
  void check_reads();
  Result<void> apply(const Change& change);
  void finish();

  // The record whose comparison stands at that place of args(), counted from 0; null: none does.
  const Key* compared_at(int64_t place) const;

  const std::vector<std::string>& keys() const { return keys_; }
  const std::vector<std::string>& args() const { return args_; }

  // The script's answer to this commit in terms of the changes. `results`: without the leading 1.
  Result<CommitResult> results(std::span<const Reply> results) const;

 private:
  struct Expected {
    enum { kRef, kRecords, kExists } what;
    Key key;
  };
  const std::string& index_of(const std::string& key);
  void check(const Part& part, const Raw& raw);
  // 'C', or 'R' when the result is wanted
  void command(char letter, std::string_view name, const std::string& key, const std::vector<std::string>& args);
  void set_fields(const std::string& key, const std::map<std::string, std::string>& fields);
  Result<void> put(const Change& change);
  void put_lock_index(const Key& key, const Value& value);
  void push(const Change& change, bool replace);
  void erase(const Key& key);
  Result<void> add(const Change& change);
  void add_fields(const Key& key, const Part& exists, const std::vector<std::pair<Part, int64_t>>& deltas);

  const Layout& layout_;
  const ReadSet& reads_;
  std::vector<std::string> keys_, args_;
  std::map<std::string, std::string> index_;
  std::vector<std::pair<int64_t, const Key*>> compared_;  // where the comparisons of each record begin
  std::vector<Expected> expected_;
};

// The fields of the hash that a put of this record writes, for records that are a whole hash.
std::optional<std::map<std::string, std::string>> encode_hash(const Key& key, const Value& value);

}  // namespace zest::meta::redis
