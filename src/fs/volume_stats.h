// Use and limits of the volume and of its quotas, for the metrics: asked of the database now and then, so that a look
// at the metrics waits for nothing. Private to fs/.
#pragma once

#include <mutex>
#include <vector>

#include "base/threads.h"
#include "fs/metrics.h"
#include "meta/api.h"

namespace zest::fs {

class VolumeStats {
 public:
  explicit VolumeStats(meta::Meta& meta);
  ~VolumeStats() { job_.stop(); }
  void add_to(Metrics& out) const;

 private:
  void look();
  meta::Meta& meta_;
  mutable std::mutex mutex_;
  bool known_ = false;
  meta::StatFs volume_;
  std::vector<meta::Meta::QuotaOf> quotas_;
  Periodic job_;  // last: its thread uses the others
};

}  // namespace zest::fs
