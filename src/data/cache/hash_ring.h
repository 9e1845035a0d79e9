// Which of several cache directories holds a block (docs/format/cache.md section 4). Pure functions of the names.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace zest::data {

uint32_t murmur3_32(std::string_view text);
uint32_t fnv1_32(std::string_view text);

class HashRing {
 public:
  explicit HashRing(const std::vector<std::string>& ids);
  // Index of the store, in the order of the ids given. There must be at least one.
  size_t pick(std::string_view key) const;
  const std::vector<int>& replicas() const { return replicas_; }

 private:
  void build(const std::vector<std::string>& ids);
  std::vector<double> shares() const;
  std::vector<int> replicas_;
  std::map<uint32_t, size_t> points_;
};

}  // namespace zest::data
