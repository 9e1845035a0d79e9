#include "data/cache/hash_ring.h"

#include <algorithm>

namespace zest::data {
namespace {
constexpr int kReplicas = 100, kRounds = 5;
constexpr double kDamping = 0.75, kCircle = 4294967296.0;

uint32_t rotate(uint32_t x, int bits) { return x << bits | x >> (32 - bits); }
}  // namespace

uint32_t murmur3_32(std::string_view text) {
  constexpr uint32_t c1 = 0xcc9e2d51, c2 = 0x1b873593;
  uint32_t h = 0;
  size_t at = 0;
  auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[i])); };
  for (; at + 4 <= text.size(); at += 4) {
    uint32_t k = byte(at) | byte(at + 1) << 8 | byte(at + 2) << 16 | byte(at + 3) << 24;
    h ^= rotate(k * c1, 15) * c2;
    h = rotate(h, 13) * 5 + 0xe6546b64;
  }
  uint32_t k = 0;
  for (size_t i = text.size(); i > at; i--) k = k << 8 | byte(i - 1);
  if (at < text.size()) h ^= rotate(k * c1, 15) * c2;
  h ^= static_cast<uint32_t>(text.size());
  h ^= h >> 16;
  h *= 0x85ebca6b;
  h ^= h >> 13;
  h *= 0xc2b2ae35;
  return h ^ h >> 16;
}

uint32_t fnv1_32(std::string_view text) {
  uint32_t h = 0x811c9dc5;
  for (char c : text) {
    h *= 0x01000193;
    h ^= static_cast<uint8_t>(c);
  }
  return h;
}

HashRing::HashRing(const std::vector<std::string>& ids) : replicas_(ids.size(), kReplicas) {
  build(ids);
  if (ids.size() < 2) return;
  const double expected = 1.0 / static_cast<double>(ids.size());
  for (int round = 0; round < kRounds; round++) {
    auto share = shares();
    bool settled = true;
    for (size_t i = 0; i < ids.size(); i++) {
      int change = static_cast<int>(replicas_[i] * (expected - share[i]) / expected * kDamping);
      if (change == 1) continue;  // the reference's rule: a change of one is left out, and only that settles
      settled = false;
      replicas_[i] += change;
    }
    if (settled) break;
    build(ids);
  }
}

void HashRing::build(const std::vector<std::string>& ids) {
  points_.clear();
  for (size_t i = 0; i < ids.size(); i++)
    for (int r = 0; r < replicas_[i]; r++) points_[murmur3_32(std::to_string(r) + ids[i])] = i;
}

std::vector<double> HashRing::shares() const {
  std::vector<double> owned(replicas_.size(), 0);
  if (points_.empty()) return owned;
  double before = static_cast<double>(points_.rbegin()->first) - kCircle;
  for (const auto& [point, store] : points_) {
    owned[store] += (static_cast<double>(point) - before) / kCircle;
    before = point;
  }
  return owned;
}

size_t HashRing::pick(std::string_view key) const {
  if (points_.empty()) return 0;
  auto it = points_.lower_bound(murmur3_32(key));
  return it == points_.end() ? points_.begin()->second : it->second;
}

}  // namespace zest::data
