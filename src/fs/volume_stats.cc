#include "fs/volume_stats.h"

#include <fmt/format.h>

namespace zest::fs {
namespace {

constexpr int64_t kPeriodMs = 10'000;

void add_quota(Metrics& out, const meta::Meta::QuotaOf& one) {
  using Kind = meta::Meta::QuotaKind;
  const char *kind = "dir", *label = "inode";
  if (one.kind == Kind::kUser) kind = "user", label = "uid";
  if (one.kind == Kind::kGroup) kind = "group", label = "gid";
  auto gauge = [&](const char* what, int64_t value) {
    out.gauge(fmt::format("{}_quota_{}", kind, what), "Quotas: limit and use.", static_cast<double>(value),
              {{label, fmt::format("{}", one.id)}});
  };
  gauge("max_space_bytes", one.quota.max_space);
  gauge("max_inodes", one.quota.max_inodes);
  gauge("used_space_bytes", one.quota.used_space);
  gauge("used_inodes", one.quota.used_inodes);
}

}  // namespace

VolumeStats::VolumeStats(meta::Meta& meta) : meta_(meta), job_("volume-stats", kPeriodMs, [this] { look(); }) {
  job_.wake();
}

void VolumeStats::look() {
  auto volume = meta_.statfs({}, kRootIno);
  auto quotas = meta_.options().no_background_jobs ? std::vector<meta::Meta::QuotaOf>{}
                                                   : meta_.list_quotas().value_or(std::vector<meta::Meta::QuotaOf>{});
  std::lock_guard lock(mutex_);
  if (volume) volume_ = *volume, known_ = true;
  quotas_ = std::move(quotas);
}

void VolumeStats::add_to(Metrics& out) const {
  std::lock_guard lock(mutex_);
  if (known_) {
    out.gauge("used_space", "Bytes used.", number(volume_.total_space - volume_.avail_space));
    out.gauge("used_inodes", "Inodes used.", number(volume_.used_inodes));
    out.gauge("total_space", "Capacity in bytes.", number(volume_.total_space));
    out.gauge("total_inodes", "Inodes used and available.", number(volume_.used_inodes + volume_.avail_inodes));
  }
  if (meta_.options().no_background_jobs) return;
  auto subdir = meta_.options().subdir;
  out.gauge("subdir_info", "The directory of the volume that is mounted.", 1,
            {{"subdir", subdir == "/" ? "" : subdir}});
  for (auto& quota : quotas_) add_quota(out, quota);
}

}  // namespace zest::fs
