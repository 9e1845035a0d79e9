// Bandwidth limits: a token bucket for each direction.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "object/storage.h"

namespace zest::object {

// Tokens of `rate` x 0.85 bytes a second (the rest is left to headers and to other traffic), at most a tenth of the
// limit at once. A request that is larger goes into debt, which the following ones wait off. Thread safe.
class TokenBucket {
 public:
  // rate: bytes a second; 0: no limit.
  TokenBucket(int64_t rate, const Clock& clock);
  void set_rate(int64_t rate);
  // Waits until `bytes` may go.
  void take(uint64_t bytes);

 private:
  double refill();  // with mutex_ held: the tokens there are
  const Clock& clock_;
  std::mutex mutex_;
  int64_t rate_ = 0;
  double tokens_ = 0;
  int64_t last_ms_ = 0;
};

struct Bandwidth {
  TokenBucket upload, download;
  Bandwidth(int64_t upload_rate, int64_t download_rate, const Clock& clock)
      : upload(upload_rate, clock), download(download_rate, clock) {}
};

// The limits can be changed through `bandwidth` while the store is used.
std::unique_ptr<Storage> with_limits(std::unique_ptr<Storage> inner, std::shared_ptr<Bandwidth> bandwidth);

}  // namespace zest::object
