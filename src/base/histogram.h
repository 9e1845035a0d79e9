// Counts values by size, as metrics want them.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace zest {

// Buckets grow by `factor` from `first`, or are multiples of it when factor is 0. All calls are thread safe.
class Histogram {
 public:
  Histogram(double first, double factor, size_t buckets) : first_(first), factor_(factor), counts_(buckets + 1) {}
  void add(double value);
  void add_all(const Histogram& other);  // of the same buckets
  uint64_t count() const { return count_.load(std::memory_order_relaxed); }
  double sum() const { return sum_.load(std::memory_order_relaxed); }
  struct Bucket {
    double upper;
    uint64_t count;  // of values that are at most `upper`
  };
  std::vector<Bucket> buckets() const;

 private:
  const double first_, factor_;
  std::vector<std::atomic<uint64_t>> counts_;  // the last one: beyond all
  std::atomic<uint64_t> count_{0};
  std::atomic<double> sum_{0};
};

}  // namespace zest
