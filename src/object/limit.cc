#include "object/limit.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "object/decorator.h"

namespace zest::object {

TokenBucket::TokenBucket(int64_t rate, const Clock& clock) : clock_(clock), last_ms_(clock.monotonic_ms()) {
  set_rate(rate);
}

void TokenBucket::set_rate(int64_t rate) {
  std::lock_guard lock(mutex_);
  rate = std::max<int64_t>(rate, 0);
  if (rate == rate_) return;
  bool was_free = rate_ == 0;
  rate_ = rate;
  last_ms_ = clock_.monotonic_ms();
  double burst = static_cast<double>(rate_) / 10;
  tokens_ = was_free ? burst : std::min(tokens_, burst);
}

double TokenBucket::refill() {
  int64_t now = clock_.monotonic_ms();
  double grown = tokens_ + static_cast<double>(rate_) * 0.85 * static_cast<double>(now - last_ms_) / 1000;
  last_ms_ = now;
  return tokens_ = std::min(grown, static_cast<double>(rate_) / 10);
}

void TokenBucket::take(uint64_t bytes) {
  int64_t wait_ms = 0;
  {
    std::lock_guard lock(mutex_);
    if (rate_ == 0) return;
    tokens_ = refill() - static_cast<double>(bytes);
    if (tokens_ < 0) wait_ms = static_cast<int64_t>(std::ceil(-tokens_ / (static_cast<double>(rate_) * 0.85) * 1000));
  }
  if (wait_ms > 0) clock_.sleep_ms(wait_ms);
}

namespace {

class Limited : public Decorator {
 public:
  Limited(std::unique_ptr<Storage> inner, std::shared_ptr<Bandwidth> bandwidth)
      : Decorator(std::move(inner)), bandwidth_(std::move(bandwidth)) {}

  // How much a read gives is known only afterwards; the debt makes the next one wait.
  Result<std::string> get(const std::string& key, uint64_t offset, uint64_t size) override {
    auto body = inner_->get(key, offset, size);
    if (body) bandwidth_->download.take(body->size());
    return body;
  }
  Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer, SegmentSums* sums) override {
    auto size = inner_->get_into(key, offset, buffer, sums);
    if (size) bandwidth_->download.take(*size);
    return size;
  }
  Result<void> put(const std::string& key, std::string_view body, const Placement& where) override {
    bandwidth_->upload.take(body.size());
    return inner_->put(key, body, where);
  }
  Result<Part> put_part(const std::string& key, const std::string& upload, int number, std::string_view body) override {
    bandwidth_->upload.take(body.size());
    return inner_->put_part(key, upload, number, body);
  }

 private:
  const std::shared_ptr<Bandwidth> bandwidth_;
};

}  // namespace

std::unique_ptr<Storage> with_limits(std::unique_ptr<Storage> inner, std::shared_ptr<Bandwidth> bandwidth) {
  return std::make_unique<Limited>(std::move(inner), std::move(bandwidth));
}

}  // namespace zest::object
