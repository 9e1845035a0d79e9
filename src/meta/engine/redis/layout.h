// Records <-> keys and values of docs/format/redis.md section 3. Pure functions.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "meta/engine/redis/resp.h"
#include "meta/txn.h"

namespace zest::meta::redis {

// How a part of a record is read. The letters are those of the scripts.
enum class Read : char {
  kGet = 'G',        // a string
  kField = 'H',      // a field of a hash
  kCount = 'E',      // is a hash empty?
  kList = 'L',       // a whole list, its elements joined
  kScore = 'Z',      // the score of a member of a sorted set
  kMember = 'M',     // is it a member of a set?
  kWholeHash = 'A',  // all fields
};

struct Part {
  Read how;
  std::string key;
  std::string field;  // or member
};

// What the server had for a part.
struct Raw {
  bool present = false;
  std::string text;
  std::map<std::string, std::string> fields;
  friend bool operator==(const Raw&, const Raw&) = default;
};

std::vector<std::string> read_command(const Part& part);
Result<Raw> read_reply(const Part& part, Reply& reply);

// Keys of one volume. prefix: empty, or "{db}" in a cluster.
class Layout {
 public:
  explicit Layout(std::string prefix) : prefix_(std::move(prefix)) {}
  const std::string& prefix() const { return prefix_; }

  std::string key(std::string_view name) const { return prefix_ + std::string(name); }
  std::string key(std::string_view letter, uint64_t id) const {
    return prefix_ + std::string(letter) + std::to_string(id);
  }
  std::string chunk_key(uint64_t ino, uint64_t index) const { return key("c", ino) + "_" + std::to_string(index); }
  // What a record is made of; one part for most.
  std::vector<Part> parts(const Key& key) const;

 private:
  const std::string prefix_;
};

// monostate when there is no such record; EIO for bytes that are none.
Result<Value> decode(const Key& key, std::span<const Raw> raws);
// The single part that a put of this record writes, where it is written as a whole; nothing for the others.
std::optional<std::string> encode_single(const Key& key, const Value& value);

std::string counter_name(std::string_view name);  // as stored
int64_t counter_base(std::string_view name);      // what is added to the stored value
std::string lock_field(const LockOwner& owner);
bool parse_lock_field(std::string_view field, LockOwner& owner);
std::string slice_field(uint64_t id, uint64_t size);  // "k8_100000"
bool parse_pair(std::string_view text, char between, uint64_t& a, uint64_t& b);
std::string encode_limit(const Quota& quota);
Result<int64_t> parse_score(std::string_view text);

}  // namespace zest::meta::redis
