#include "object/faulty.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <thread>
#include <utility>

#include "object/decorator.h"

namespace zest::object {

void Faults::fail_next(unsigned calls, int count, Error error) {
  std::lock_guard lock(mutex_);
  fail_calls_ = calls;
  fail_left_ = count;
  fail_error_ = std::move(error);
}

void Faults::lose_replies(unsigned calls, int count) {
  std::lock_guard lock(mutex_);
  lose_calls_ = calls;
  lose_left_ = count;
}

void Faults::fail_randomly(unsigned calls, int percent, uint64_t seed) {
  std::lock_guard lock(mutex_);
  random_calls_ = calls;
  random_percent_ = percent;
  random_ = seed * 2 + 1;
}

void Faults::fail_keys(std::set<std::string> keys, Error error) {
  std::lock_guard lock(mutex_);
  keys_ = std::move(keys);
  key_error_ = std::move(error);
}

void Faults::shorten_bodies(int count) {
  std::lock_guard lock(mutex_);
  short_left_ = count;
}

void Faults::corrupt_bodies(int count) {
  std::lock_guard lock(mutex_);
  corrupt_left_ = count;
}

void Faults::delay(unsigned calls, int64_t ms) {
  std::lock_guard lock(mutex_);
  delay_calls_ = calls;
  delay_ms_ = ms;
}

void Faults::hold(unsigned calls) {
  std::lock_guard lock(mutex_);
  hold_calls_ = calls;
}

void Faults::release() {
  std::lock_guard lock(mutex_);
  hold_calls_ = 0;
  changed_.notify_all();
}

bool Faults::wait_held(size_t count, int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return held_ >= count; });
}

void Faults::clear() {
  std::lock_guard lock(mutex_);
  fail_calls_ = lose_calls_ = random_calls_ = delay_calls_ = hold_calls_ = 0;
  fail_left_ = lose_left_ = short_left_ = corrupt_left_ = 0;
  keys_.clear();
  changed_.notify_all();
}

size_t Faults::most_delayed() const {
  std::lock_guard lock(mutex_);
  return most_delayed_;
}

uint64_t Faults::count(unsigned calls) const {
  std::lock_guard lock(mutex_);
  uint64_t sum = 0;
  for (size_t i = 0; i < std::size(counts_); i++)
    if (calls >> i & 1) sum += counts_[i];
  return sum;
}

Faults::Verdict Faults::judge(unsigned call, const std::string& key) {
  std::unique_lock lock(mutex_);
  counts_[std::countr_zero(call) % std::size(counts_)]++;  // one bit, of a call that there is
  if (delay_calls_ & call) {
    auto pause = std::chrono::milliseconds(delay_ms_);
    most_delayed_ = std::max(most_delayed_, ++delayed_);
    lock.unlock();
    std::this_thread::sleep_for(pause);
    lock.lock();
    delayed_--;
  }
  if (hold_calls_ & call) {
    held_++;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !(hold_calls_ & call); });
    held_--;
  }
  auto matches = [&](const std::string& one) {
    return one.ends_with('*') ? key.starts_with(std::string_view(one).substr(0, one.size() - 1)) : key == one;
  };
  auto named = [&](Error error) {
    error.what += ": " + key;
    return error;
  };
  if (std::any_of(keys_.begin(), keys_.end(), matches)) return {false, true, named(key_error_)};
  if ((fail_calls_ & call) && fail_left_ != 0) {
    if (fail_left_ > 0) fail_left_--;
    return {false, true, named(fail_error_)};
  }
  Error lost{EIO, Fault::kUnknownOutcome, "injected: reply lost"};
  if ((lose_calls_ & call) && lose_left_ != 0) {
    if (lose_left_ > 0) lose_left_--;
    return {true, true, named(std::move(lost))};
  }
  if (random_calls_ & call) {
    random_ = random_ * 6364136223846793005ULL + 1442695040888963407ULL;
    if (static_cast<int>((random_ >> 33) % 100) < random_percent_)
      return {(random_ >> 60 & 1) != 0, true, named(std::move(lost))};
  }
  return {};
}

void Faults::spoil(std::string& body) {
  std::lock_guard lock(mutex_);
  if (short_left_ != 0 && !body.empty()) {
    if (short_left_ > 0) short_left_--;
    body.resize(body.size() / 2);
  }
  if (corrupt_left_ != 0 && !body.empty()) {
    if (corrupt_left_ > 0) corrupt_left_--;
    body[body.size() / 2] ^= 0x20;
  }
}

class Faulty : public Decorator {
 public:
  Faulty(std::unique_ptr<Storage> inner, std::shared_ptr<Faults> faults)
      : Decorator(std::move(inner)), faults_(std::move(faults)) {}

  Result<ObjectInfo> head(const std::string& key) override {
    return run<ObjectInfo>(Faults::kHead, key, [&] { return inner_->head(key); });
  }
  Result<std::string> get(const std::string& key, uint64_t offset, uint64_t size) override {
    return run<std::string>(Faults::kGet, key, [&] {
      auto body = inner_->get(key, offset, size);
      if (body) {
        faults_->spoil(*body);
        faults_->bytes_got_ += body->size();
      }
      return body;
    });
  }
  Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer, SegmentSums* sums) override {
    if (sums) sums->clear();
    ZEST_ASSIGN(std::string body, get(key, offset, buffer.size()));
    return body.copy(buffer.data(), buffer.size());
  }
  Result<void> put(const std::string& key, std::string_view body, const Placement& where) override {
    return run<void>(Faults::kPut, key, [&] {
      faults_->bytes_put_ += body.size();
      return inner_->put(key, body, where);
    });
  }
  Result<void> copy(const std::string& dst, const std::string& src) override {
    return run<void>(Faults::kCopy, dst, [&] { return inner_->copy(dst, src); });
  }
  Result<void> remove(const std::string& key) override {
    return run<void>(Faults::kRemove, key, [&] { return inner_->remove(key); });
  }
  std::vector<std::pair<std::string, Error>> remove_many(std::span<const std::string> keys) override {
    return Storage::remove_many(keys);
  }
  Result<void> sync() override {
    return run<void>(Faults::kSync, "", [&] { return inner_->sync(); });
  }
  Result<ListPage> list(const std::string& prefix, const std::string& after, const std::string& token, size_t limit,
                        const std::string& delimiter) override {
    return run<ListPage>(Faults::kList, prefix, [&] { return inner_->list(prefix, after, token, limit, delimiter); });
  }
  Result<std::string> start_multipart(const std::string& key) override {
    return run<std::string>(Faults::kMultipart, key, [&] { return inner_->start_multipart(key); });
  }
  Result<Part> put_part(const std::string& key, const std::string& upload, int number, std::string_view body) override {
    return run<Part>(Faults::kMultipart, key, [&] { return inner_->put_part(key, upload, number, body); });
  }
  Result<void> finish_multipart(const std::string& key, const std::string& upload,
                                std::span<const Part> parts) override {
    return run<void>(Faults::kMultipart, key, [&] { return inner_->finish_multipart(key, upload, parts); });
  }
  Result<void> abort_multipart(const std::string& key, const std::string& upload) override {
    return run<void>(Faults::kMultipart, key, [&] { return inner_->abort_multipart(key, upload); });
  }

 private:
  template <class T, class Call>
  Result<T> run(unsigned kind, const std::string& key, Call call) {
    auto verdict = faults_->judge(kind, key);
    if (!verdict.failed) return call();
    if (verdict.act) (void)call();
    return fail(std::move(verdict.error));
  }
  const std::shared_ptr<Faults> faults_;
};

std::unique_ptr<Storage> with_faults(std::unique_ptr<Storage> inner, std::shared_ptr<Faults> faults) {
  return std::make_unique<Faulty>(std::move(inner), std::move(faults));
}

}  // namespace zest::object
