#include "object/retry.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/log.h"
#include "object/decorator.h"

namespace zest::object {
namespace {

bool may_pass(const Error& error) {
  return error.fault == Fault::kUnavailable || error.fault == Fault::kUnknownOutcome;
}

// One run of tries.
class Tries {
 public:
  Tries(const RetryPolicy& policy, int64_t deadline_ms, const Clock& clock)
      : policy_(policy), clock_(clock), end_ms_(clock.monotonic_ms() + deadline_ms) {}

  // Sleeps and gives true when the request shall be tried again.
  bool again(const Error& error) {
    if (!may_pass(error) || done_ >= policy_.retries) return false;
    int64_t pause = std::min(policy_.base_ms << std::min(done_, 20), policy_.cap_ms);
    thread_local std::minstd_rand generator{std::random_device{}()};
    pause = std::uniform_int_distribution<int64_t>(pause / 4, pause)(generator);
    if (clock_.monotonic_ms() + pause >= end_ms_) return false;
    done_++;
    if (log_enabled(LogLevel::kDebug)) log_debug("try " + std::to_string(done_ + 1) + " after: " + error.message());
    clock_.sleep_ms(pause);
    return true;
  }
  int done() const { return done_; }

 private:
  const RetryPolicy& policy_;
  const Clock& clock_;
  const int64_t end_ms_;
  int done_ = 0;
};

class Retry : public Decorator {
 public:
  Retry(std::unique_ptr<Storage> inner, const RetryPolicy& policy, const Clock& clock)
      : Decorator(std::move(inner)), policy_(policy), clock_(clock) {}

  Result<void> create() override {
    return put_like([&] { return inner_->create(); });
  }
  Result<ObjectInfo> head(const std::string& key) override {
    return get_like([&] { return inner_->head(key); });
  }
  Result<std::string> get(const std::string& key, uint64_t offset, uint64_t size) override {
    return get_like([&] { return inner_->get(key, offset, size); });
  }
  Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer, SegmentSums* sums) override {
    return get_like([&] { return inner_->get_into(key, offset, buffer, sums); });
  }
  Result<void> put(const std::string& key, std::string_view body, const Placement& where) override {
    return put_like([&] { return inner_->put(key, body, where); });
  }
  Result<void> copy(const std::string& dst, const std::string& src) override {
    return put_like([&] { return inner_->copy(dst, src); });
  }
  Result<bool> restore(const std::string& key, int days) override {
    return put_like([&] { return inner_->restore(key, days); });
  }
  Result<void> remove(const std::string& key) override {
    return put_like([&] { return inner_->remove(key); });
  }
  Result<ListPage> list(const std::string& prefix, const std::string& after, const std::string& token, size_t limit,
                        const std::string& delimiter) override {
    return get_like([&] { return inner_->list(prefix, after, token, limit, delimiter); });
  }

  std::vector<std::pair<std::string, Error>> remove_many(std::span<const std::string> keys) override {
    Tries tries(policy_, policy_.put_deadline_ms, clock_);
    std::vector<std::pair<std::string, Error>> final_errors;
    std::vector<std::string> left;
    for (;;) {
      auto failed = inner_->remove_many(keys);
      auto passing =
          std::partition(failed.begin(), failed.end(), [](const auto& one) { return !may_pass(one.second); });
      std::move(failed.begin(), passing, std::back_inserter(final_errors));
      failed.erase(failed.begin(), passing);
      if (failed.empty()) return final_errors;
      if (!tries.again(failed.front().second)) {
        std::move(failed.begin(), failed.end(), std::back_inserter(final_errors));
        return final_errors;
      }
      left.clear();
      for (auto& one : failed) left.push_back(std::move(one.first));
      keys = left;
    }
  }

  Result<std::string> start_multipart(const std::string& key) override {
    return put_like([&] { return inner_->start_multipart(key); });
  }
  Result<Part> put_part(const std::string& key, const std::string& upload, int number, std::string_view body) override {
    return put_like([&] { return inner_->put_part(key, upload, number, body); });
  }
  Result<void> finish_multipart(const std::string& key, const std::string& upload,
                                std::span<const Part> parts) override {
    bool repeated = false;
    auto done = put_like([&] {
      auto one = inner_->finish_multipart(key, upload, parts);
      // The try before may have been carried out and its answer lost: then the upload is gone and the object there.
      if (code_of(one) == ENOENT && repeated) {
        uint64_t size = 0;
        for (const auto& part : parts) size += part.size;
        if (auto info = inner_->head(key); info && info->size == size) one = {};
      }
      repeated = true;
      return one;
    });
    return done;
  }
  Result<void> abort_multipart(const std::string& key, const std::string& upload) override {
    return put_like([&] { return inner_->abort_multipart(key, upload); });
  }

 private:
  template <class Request>
  auto run(int64_t deadline_ms, Request request) -> decltype(request()) {
    Tries tries(policy_, deadline_ms, clock_);
    for (;;) {
      auto result = request();
      if (result || !tries.again(result.error())) {
        if (!result && tries.done() > 0)
          result.error().what += " (tried " + std::to_string(tries.done() + 1) + " times)";
        return result;
      }
    }
  }
  template <class Request>
  auto get_like(Request request) -> decltype(request()) {
    return run(policy_.get_deadline_ms, std::move(request));
  }
  template <class Request>
  auto put_like(Request request) -> decltype(request()) {
    return run(policy_.put_deadline_ms, std::move(request));
  }

  const RetryPolicy policy_;
  const Clock& clock_;
};

}  // namespace

std::unique_ptr<Storage> with_retries(std::unique_ptr<Storage> inner, const RetryPolicy& policy, const Clock& clock) {
  return std::make_unique<Retry>(std::move(inner), policy, clock);
}

}  // namespace zest::object
