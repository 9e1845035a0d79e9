// Keys and values of a volume in a key-value store (docs/format/tkv.md section 3): pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "meta/txn.h"

namespace zest::meta::kv {

// Where a record lives.
struct Place {
  std::string key;  // of a record that is one key
  std::string end;  // not empty: the record is the range [key, end)
  bool is_range() const { return !end.empty(); }
};
Place place_of(const Key& key);

std::string after_prefix(std::string prefix);    // the first key behind all that begin with it
std::string link_key(uint64_t ino, Ino parent);  // one of kParents
inline constexpr char kLogPrefix[] = "XLOG";     // then the version of the line, 8 bytes, big-endian
std::string log_key(int64_t version);
std::string session_info_key(uint64_t sid);  // the other half of a session

// Values of records that are one key (kSession: only the expiry). decode: EIO for bytes that are none.
std::string encode_value(const Key& key, const Value& value);
Result<Value> decode_value(const Key& key, std::string_view bytes);

// Counters that hold a time are stored in another byte order than those that count.
std::string encode_counter(std::string_view name, int64_t value);
Result<int64_t> decode_counter(std::string_view name, std::string_view bytes);
std::string encode_le(int64_t value);
Result<int64_t> decode_le(std::string_view bytes);

// The range of a table's keys, and the record that one of them holds; nothing for keys of other records that lie in
// between. kParentsTable gives one key for each link, with the parent in `b`.
std::pair<std::string, std::string> table_range(Table table, uint64_t within);
std::optional<Key> parse_key(Table table, std::string_view key);

}  // namespace zest::meta::kv
