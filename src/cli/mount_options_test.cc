#include "cli/mount_options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "cli/fstab.h"

namespace zest::cli {
namespace {

// The settings of `zestfs mount ARGV...`, or the error's text.
struct Parsed {
  MountSettings settings;
  std::string error;
};

Parsed parse(std::vector<std::string> argv) {
  MountOptions options;
  CLI::App app;
  app.add_option("args", options.args);
  add_mount_options(app, options);
  argv.insert(argv.end(), {"sqlite3:///tmp/meta.db", "/mnt/vol/"});
  app.parse(std::vector<std::string>(argv.rbegin(), argv.rend()));
  auto settings = resolve(options);
  if (!settings) return {{}, settings.error().message()};
  return {*settings, {}};
}

TEST(MountOptions, DefaultsAreTheReferences) {
  auto s = parse({}).settings;
  EXPECT_EQ(s.url, "sqlite3:///tmp/meta.db");
  EXPECT_EQ(s.mount_point, "/mnt/vol");
  EXPECT_EQ(s.meta.heartbeat_ms, 12'000);
  EXPECT_EQ(s.meta.atime, meta::AtimeMode::kNoAtime);
  EXPECT_EQ(s.meta.skip_dir_mtime_ms, 100);
  EXPECT_EQ(s.meta.max_deletes, 10);
  EXPECT_EQ(s.data.buffer_size, 300ULL << 20);
  EXPECT_EQ(s.data.cache.size_bytes, 100ULL << 30);
  EXPECT_EQ(s.data.cache.mode, 0600u);
  EXPECT_EQ(s.data.put_timeout_ms, 60'000);
  EXPECT_FALSE(s.data.readahead_off);
  EXPECT_EQ(s.fuse.attr_timeout_ms, 1000);
  EXPECT_EQ(s.fuse.negative_timeout_ms, 0);
  EXPECT_TRUE(s.fuse.default_permissions);
  EXPECT_EQ(s.fuse.umask, 0xFFFF);
  EXPECT_FALSE(s.upload_limit);
}

TEST(MountOptions, UnitsAreRead) {
  auto s = parse({"--buffer-size",
                  "1G",
                  "--cache-size=512",
                  "--attr-cache",
                  "2.5",
                  "--heartbeat",
                  "1d",
                  "--umask",
                  "022",
                  "--upload-limit",
                  "80",
                  "--download-limit",
                  "1G",
                  "--cache-expire",
                  "10ms",
                  "--max-readahead",
                  "0",
                  "--upload-hours",
                  "22-4",
                  "--cache-dir",
                  "/a:/b",
                  "--open-cache",
                  "300ms"})
               .settings;
  EXPECT_EQ(s.data.buffer_size, 1ULL << 30);
  EXPECT_EQ(s.data.cache.size_bytes, 512ULL << 20);
  EXPECT_EQ(s.fuse.attr_timeout_ms, 2500);
  EXPECT_EQ(s.meta.heartbeat_ms, 600'000) << "ten minutes at most";
  EXPECT_EQ(s.fuse.umask, 022);
  EXPECT_EQ(s.upload_limit, 10'000'000);
  EXPECT_EQ(s.download_limit, 125'000'000);
  EXPECT_EQ(s.data.cache.expire_ms, 1000);
  EXPECT_TRUE(s.data.readahead_off);
  EXPECT_EQ(s.data.upload_from_hour, 22);
  EXPECT_EQ(s.data.upload_to_hour, 4);
  EXPECT_EQ(s.data.cache.dirs, (std::vector<std::string>{"/a", "/b"}));
  EXPECT_EQ(s.meta.open_cache_ms, 300);
  EXPECT_EQ(parse({"--buffer-size", "1"}).settings.data.buffer_size, 32ULL << 20) << "32 MiB at least";
}

TEST(MountOptions, MistakesAreNamed) {
  EXPECT_NE(parse({"--cache-size", "10Z"}).error.find("cache-size"), std::string::npos);
  EXPECT_NE(parse({"--umask", "9"}).error.find("umask"), std::string::npos);
  EXPECT_NE(parse({"--backup-meta", "1m"}).error.find("backup-meta should not be less than 5 minutes"),
            std::string::npos);
  EXPECT_NE(parse({"--cache-eviction", "fifo"}).error.find("cache-eviction"), std::string::npos);
  EXPECT_NE(parse({"--verify-cache-checksum", "some"}).error.find("verify-cache-checksum"), std::string::npos);
  EXPECT_NE(parse({"--upload-limit", "fast"}).error.find("upload-limit"), std::string::npos);
  EXPECT_NE(parse({"--free-space-ratio", "1.5"}).error.find("free-space-ratio"), std::string::npos);
  EXPECT_NE(parse({"--custom-labels", "a"}).error.find("invalid label format"), std::string::npos);
}

TEST(MountOptions, TheListOfFuseIsSplit) {
  auto s = parse({"-o", "ro,writeback_cache,noatime", "-o", "allow_other,nonempty"}).settings;
  EXPECT_TRUE(s.meta.read_only);
  EXPECT_TRUE(s.data.read_only);
  EXPECT_TRUE(s.fuse.writeback_cache);
  EXPECT_TRUE(s.fuse.allow_other);
  EXPECT_EQ(s.fuse.mount_options, std::vector<std::string>{"noatime"});
}

TEST(MountOptions, SquashedUsersAreNeverRoot) {
  auto s = parse({"--all-squash", "1000:1001"}).settings;
  ASSERT_TRUE(s.fuse.all_squash);
  EXPECT_EQ(s.fuse.all_squash->uid, 1000u);
  EXPECT_EQ(s.fuse.all_squash->gid, 1001u);
  EXPECT_FALSE(s.fuse.default_permissions);
  s = parse({"--root-squash", "0"}).settings;
  ASSERT_TRUE(s.fuse.root_squash);
  EXPECT_NE(s.fuse.root_squash->uid, 0u);
  EXPECT_NE(s.fuse.root_squash->gid, 0u);
  EXPECT_TRUE(s.fuse.default_permissions);
}

TEST(MountOptions, NamesAreKeptWithoutTheKernelsChecksOnlyIfAsked) {
  auto times = [](std::vector<std::string> argv) {
    argv.insert(argv.end(), {"--non-default-permission", "-o", "allow_other"});
    auto f = parse(std::move(argv)).settings.fuse;
    return std::vector<int64_t>{f.attr_timeout_ms, f.entry_timeout_ms, f.dir_entry_timeout_ms};
  };
  EXPECT_EQ(times({}), (std::vector<int64_t>{1000, 0, 0}));
  EXPECT_EQ(times({"--entry-cache", "5s"}), (std::vector<int64_t>{1000, 5000, 0}));
  EXPECT_EQ(times({"--dir-entry-cache", "1", "--attr-cache", "3"}), (std::vector<int64_t>{3000, 0, 1000}));
  EXPECT_EQ(times({"--all-squash", "1:1"}), (std::vector<int64_t>{1000, 1000, 1000})) << "all are one user";
}

TEST(Fstab, OptionsBecomeFlagsAndBack) {
  EXPECT_EQ(
      flags_of_fstab(
          "rw,_netdev,nofail,writeback,cache-size=1G,attrcacheto=3s,noatime,allow_other,x-systemd.automount"),
      (std::vector<std::string>{"--writeback", "--cache-size=1G", "--attr-cache=3s", "-o", "noatime,allow_other"}));
  EXPECT_TRUE(flags_of_fstab("defaults").empty());
  EXPECT_EQ(fstab_options({"zestfs", "mount", "-d", "--update-fstab", "--writeback", "--cache-size", "1G", "-o",
                           "noatime", "--cache-dir=memory", "sqlite3:///m", "/mnt"}),
            "_netdev,nofail,cache-dir=memory,cache-size=1G,noatime,writeback");
}

TEST(MountOptions, UrlsOfFilesBecomeAbsolute) {
  EXPECT_EQ(absolute_url("redis://host/1"), "redis://host/1");
  EXPECT_EQ(absolute_url("sqlite3:///a/b.db"), "sqlite3:///a/b.db");
  char* here = getcwd(nullptr, 0);
  EXPECT_EQ(absolute_url("sqlite3://b.db"), "sqlite3://" + std::string(here) + "/b.db");
  free(here);
}

}  // namespace
}  // namespace zest::cli
