#include "data/streams.h"

#include <algorithm>

namespace zest::data {
namespace {
constexpr uint64_t kLargeRead = 128 << 10;
}

// Forward first (a little beyond the end counts: the kernel reorders), then slightly back, else a free or the oldest
// stream.
size_t Streams::match(uint64_t offset, uint64_t, bool& fresh) {
  fresh = false;
  size_t best = kStreams;
  for (size_t i = 0; i < kStreams; i++) {
    const Stream& s = streams_[i];
    if (s.used == 0 || offset < s.last || offset > s.last + s.window + (s.window > 0 ? block_ : 0)) continue;
    if (best == kStreams || s.last > streams_[best].last) best = i;
  }
  if (best < kStreams) return best;
  for (size_t i = 0; i < kStreams; i++) {
    const Stream& s = streams_[i];
    if (s.used == 0 || s.window == 0 || offset >= s.last) continue;
    if (offset + std::max(s.window / 8, block_) < s.last) continue;
    if (best == kStreams || s.last < streams_[best].last) best = i;
  }
  if (best < kStreams) return best;
  fresh = true;
  best = 0;
  for (size_t i = 0; i < kStreams; i++)
    if (streams_[i].used < streams_[best].used) best = i;
  return best;
}

Streams::Plan Streams::on_read(uint64_t offset, uint64_t size, uint64_t length) {
  bool fresh = false;
  size_t index = match(offset, size, fresh);
  Stream& s = streams_[index];
  uint64_t end = offset + size;
  if (fresh) {
    s = {};
    s.last = offset;
  }
  s.used = ++tick_;
  if (end > s.last) s.total += end - s.last;
  s.last = std::max(s.last, end);
  Plan plan;
  plan.stream = index;
  // The second read in a row, or a large one at the file's start. A small one there may be a look at the header.
  bool in_order = s.total > size || (offset == 0 && size >= std::min<uint64_t>(kLargeRead, length));
  if (s.window == 0 && in_order && max_ >= block_) s.window = block_;
  if (s.window > 0 && s.window < max_ && s.total >= 4 * s.window && s.window < 2 * block_)
    s.window = std::min(max_, 2 * s.window);
  plan.sequential = s.window > 0;
  if (!plan.sequential) return plan;
  plan.from = std::max(s.planned, s.last);
  plan.to = std::min(s.last + s.window, length);
  // Whole blocks, so that there is something to plan once a block only.
  uint64_t rounded = std::min((plan.to + block_ - 1) / block_ * block_, length);
  plan.to = rounded;
  if (plan.to <= plan.from) {
    plan.from = plan.to = 0;
  } else {
    s.planned = plan.to;
  }
  plan.keep = s.last > block_ ? s.last - block_ : 0;
  return plan;
}

void Streams::stalled(size_t stream, bool far) {
  Stream& s = streams_[stream];
  if (s.window > 0 && s.window < max_ && s.total >= s.window) s.window = std::min(max_, s.window * (far ? 4 : 2));
}

void Streams::shrink(size_t stream) {
  Stream& s = streams_[stream];
  if (s.window > block_) s.window = std::max(block_, s.window / 2);
  s.planned = s.last;  // what could not be had is asked for again
}

}  // namespace zest::data
