// Random changes of a byte string, for fuzz.cc.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace zest::fuzz {

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}
  // One of the seeds with a few changes.
  std::string next(const std::vector<std::string>& seeds);

 private:
  size_t below(size_t limit) { return limit == 0 ? 0 : random_() % limit; }
  void change(std::string& bytes, const std::vector<std::string>& seeds);
  void put_number(std::string& bytes);
  void put_digits(std::string& bytes);
  void move_block(std::string& bytes, const std::string& from);

  std::mt19937_64 random_;
};

}  // namespace zest::fuzz
