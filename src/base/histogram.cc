#include "base/histogram.h"

#include <algorithm>
#include <cmath>

namespace zest {

void Histogram::add(double value) {
  size_t bucket = 0, last = counts_.size() - 1;
  if (factor_ == 0) {
    double multiple = std::ceil(value / first_);
    bucket = multiple <= 1 ? 0 : static_cast<size_t>(std::min(multiple - 1, static_cast<double>(last)));
  } else {
    double upper = first_;
    while (bucket < last && value > upper) upper *= factor_, bucket++;
  }
  counts_[std::min(bucket, last)].fetch_add(1, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

void Histogram::add_all(const Histogram& other) {
  for (size_t i = 0; i < counts_.size(); i++)
    counts_[i].fetch_add(other.counts_[i].load(std::memory_order_relaxed), std::memory_order_relaxed);
  count_.fetch_add(other.count(), std::memory_order_relaxed);
  sum_.fetch_add(other.sum(), std::memory_order_relaxed);
}

std::vector<Histogram::Bucket> Histogram::buckets() const {
  std::vector<Bucket> out;
  uint64_t total = 0;
  double upper = first_;
  for (size_t i = 0; i + 1 < counts_.size(); i++) {
    total += counts_[i].load(std::memory_order_relaxed);
    out.push_back({upper, total});
    upper = factor_ == 0 ? first_ * static_cast<double>(i + 2) : upper * factor_;
  }
  return out;
}

}  // namespace zest
