#include "cli/backup.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace zest::cli {
namespace {

constexpr int64_t kHour = 3600, kDay = 24 * kHour;
constexpr int64_t kStart = 1'790'000'000;

TEST(Backup, KeysTellTheirTime) {
  EXPECT_EQ(backup_key(0), "meta/dump-1970-01-01-000000.json.gz");
  EXPECT_EQ(time_of_backup(backup_key(kStart)), kStart);
  EXPECT_EQ(time_of_backup("meta/dump-2024-02-29-235959.bin"), 1'709'251'199);
  for (auto* other : {"meta/dump-", "meta/dump-2024-02-29-235959", "meta/dump-2024-02-29-23595x.json.gz",
                      "dump.json.gz", "meta/other-2024-02-29-235959.json.gz", "meta/dump-2024.02-29-235959.json.gz"})
    EXPECT_FALSE(time_of_backup(other)) << other;
}

TEST(Backup, StampsAreReadInAnyZone) {
  EXPECT_EQ(rfc3339({0, 5}), "1970-01-01T00:00:00.000000005Z");
  EXPECT_EQ(parse_rfc3339(rfc3339({kStart, 999'999'999})), kStart);
  EXPECT_EQ(parse_rfc3339("1970-01-02T00:00:00Z"), kDay);
  EXPECT_EQ(parse_rfc3339("1970-01-02T02:30:00+02:30"), kDay);
  EXPECT_EQ(parse_rfc3339("1970-01-01T23:00:00.25-01:00"), kDay);
  for (auto* bad :
       {"", "1970-01-02", "1970-01-02T00:00:00", "1970-01-02T00:00:00+0100", "1970-01-02T00:00:00*01:00", "x"})
    EXPECT_FALSE(parse_rfc3339(bad)) << bad;
}

// A client that lives for a year and makes a backup every four hours.
TEST(Backup, WhatIsKeptThinsOutWithAge) {
  std::set<std::string> kept;
  int64_t now = kStart;
  for (; now < kStart + 365 * kDay; now += 4 * kHour) {
    kept.insert(backup_key(now));
    std::vector<std::string> keys(kept.begin(), kept.end());
    for (auto& key : outdated_backups(keys, now)) kept.erase(key);
  }
  now -= 4 * kHour;
  std::map<int, int> by_age;  // up to 2, 14, 60 days, and more
  std::optional<int64_t> previous;
  for (auto& key : kept) {
    auto time = *time_of_backup(key), age = now - time;
    by_age[age < 2 * kDay ? 2 : age < 14 * kDay ? 14 : age < 60 * kDay ? 60 : 1000]++;
    if (previous) {  // no hole is wider than two periods
      auto since = now - *previous;
      EXPECT_LE(time - *previous, (since < 14 * kDay ? 2 : since < 60 * kDay ? 14 : 60) * kDay) << key;
    }
    previous = time;
  }
  EXPECT_EQ(by_age[2], 12);
  EXPECT_NEAR(by_age[14], 12, 1);
  EXPECT_NEAR(by_age[60], 7, 1);
  EXPECT_NEAR(by_age[1000], 11, 2);
}

TEST(Backup, ForeignObjectsAndRecentOnesStay) {
  std::vector<std::string> keys = {backup_key(kStart), backup_key(kStart - 1), backup_key(kStart - kDay),
                                   "meta/dump-x",      "chunks/0/0/1_0_4",     backup_key(kStart + kDay)};
  EXPECT_TRUE(outdated_backups(keys, kStart).empty());
  keys = {backup_key(kStart + 2), backup_key(kStart + 1)};
  EXPECT_EQ(outdated_backups(keys, kStart + 3 * kDay), std::vector<std::string>{backup_key(kStart + 2)});
}

}  // namespace
}  // namespace zest::cli
