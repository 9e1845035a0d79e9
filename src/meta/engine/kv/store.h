// What the KV engine needs of a key-value database: a view of one moment, and a commit that fails if what was read has
// changed. Keys are without the volume's prefix: the store adds it. Nothing here knows what keys and values mean.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace zest::meta::kv {

struct Item {
  std::string value;
  uint64_t version = 0;  // changes with each write of the key; never 0
};

struct Pair {
  std::string key;
  Item item;
};

// Reads of one moment. Short-lived (it may hold a lock): used by one thread, and dropped before anything else is asked
// of the store.
class View {
 public:
  virtual ~View() = default;
  virtual Result<std::vector<std::optional<Item>>> get(std::span<const std::string> keys) = 0;
  // Keys in [begin, end) in byte order, at most `limit`.
  virtual Result<std::vector<Pair>> scan(std::string_view begin, std::string_view end, size_t limit) = 0;
};

// A key, and the version it must still have (0: it must be absent).
struct Check {
  std::string key;
  uint64_t version = 0;
};

// A scan, and what it must still give.
struct RangeCheck {
  std::string begin, end;
  size_t limit = 0;
  std::vector<Check> found;
};

struct Write {
  std::string key;
  std::optional<std::string> value;  // nothing: delete
  bool stamped = false;  // the store ends the key with a number (8 bytes, big-endian) that rises with every commit
};

// Thread safe.
class Store {
 public:
  virtual ~Store() = default;
  virtual std::string name() const = 0;
  virtual Result<std::unique_ptr<View>> view() = 0;
  // All writes, or kConflict and none.
  virtual Result<void> commit(std::span<const Check> checks, std::span<const RangeCheck> ranges,
                              std::span<const Write> writes) = 0;
  virtual Result<void> ping() = 0;
};

}  // namespace zest::meta::kv
