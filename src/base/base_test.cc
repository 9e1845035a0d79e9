#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/budget.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/result.h"
#include "base/threads.h"
#include "base/units.h"

namespace zest {
namespace {

TEST(Bytes, IntegersComeBack) {
  std::string out;
  put_u8(out, 7);
  put_be16(out, 0x1234);
  put_be32(out, 0xdeadbeef);
  put_be64(out, 0x0102030405060708);
  put_le64(out, 0x0102030405060708);
  EXPECT_EQ(to_hex(out), "071234deadbeef01020304050607080807060504030201");
  ByteReader in(out);
  EXPECT_EQ(in.u8(), 7);
  EXPECT_EQ(in.be16(), 0x1234);
  EXPECT_EQ(in.be32(), 0xdeadbeef);
  EXPECT_EQ(in.be64(), 0x0102030405060708u);
  EXPECT_EQ(in.le64(), 0x0102030405060708u);
  EXPECT_TRUE(in.ok());
  EXPECT_EQ(in.be32(), 0u);
  EXPECT_FALSE(in.ok());
}

TEST(Bytes, HexAndNumbersAreCheckedWhole) {
  EXPECT_EQ(from_hex("00 ff\n10"), std::string("\x00\xff\x10", 3));
  EXPECT_FALSE(from_hex("0"));
  EXPECT_FALSE(from_hex("0g"));
  EXPECT_EQ(parse_int("-12"), -12);
  EXPECT_FALSE(parse_int("12a"));
  EXPECT_FALSE(parse_uint("-1"));
  EXPECT_FALSE(parse_uint("18446744073709551616"));
}

TEST(Units, Sizes) {
  EXPECT_EQ(parse_size("100"), 100u);
  EXPECT_EQ(parse_size("100", 1 << 20), 100u << 20);
  EXPECT_EQ(parse_size("1.5G", 1 << 20), 1536u << 20);
  EXPECT_EQ(parse_size("4k"), 4096u);
  EXPECT_EQ(parse_size("4KiB"), 4096u);
  EXPECT_FALSE(parse_size("4X"));
  EXPECT_FALSE(parse_size("-1"));
  EXPECT_FALSE(parse_size(""));
  EXPECT_FALSE(parse_size("9E9"));
  EXPECT_EQ(format_size(1536), "1.5 KiB");
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(128 << 10), "128 KiB");
  EXPECT_EQ(format_size_exact(17), "17 Bytes");
  EXPECT_EQ(format_size_exact(200'000), "195.31 KiB (200000 Bytes)");
}

TEST(Units, Durations) {
  EXPECT_EQ(parse_duration_ms("12"), 12'000);
  EXPECT_EQ(parse_duration_ms("1h30m"), 5'400'000);
  EXPECT_EQ(parse_duration_ms("300ms"), 300);
  EXPECT_EQ(parse_duration_ms("2d"), 172'800'000);
  EXPECT_EQ(parse_duration_ms("-1s"), -1000);
  EXPECT_FALSE(parse_duration_ms("1x"));
  EXPECT_FALSE(parse_duration_ms(""));
  EXPECT_EQ(format_duration_ms(5'400'000), "1h30m");
  EXPECT_EQ(format_rfc3339(0, 500'000'000, true), "1970-01-01T00:00:00.5Z");
}

TEST(Log, SecretsAreMasked) {
  EXPECT_EQ(mask_secrets("redis://:secret@h:1/2"), "redis://:****@h:1/2");
  EXPECT_EQ(mask_secrets("cannot open mysql://u:p@ss:w/rd@(h:3306)/db now"),
            "cannot open mysql://u:****@(h:3306)/db now");
  EXPECT_EQ(mask_secrets("mysql://u:p@s?s#w@tcp(h:3306)/db?tls=true"), "mysql://u:****@tcp(h:3306)/db?tls=true");
  EXPECT_EQ(mask_secrets("redis://h:6379/1"), "redis://h:6379/1");
  EXPECT_EQ(mask_secrets("a://u:x@h b://v:y@g"), "a://u:****@h b://v:****@g");
  EXPECT_EQ(mask_secrets("postgres://u@h/db?password=p/x&sslpassword=y&sslmode=require z"),
            "postgres://u@h/db?password=****&sslpassword=****&sslmode=require z");
  EXPECT_EQ(mask_secrets("plain"), "plain");
}

TEST(Budget, NeverOvershootsAndGivesBack) {
  Budget budget(100);
  auto a = budget.take(60, 0);
  EXPECT_TRUE(a);
  EXPECT_FALSE(budget.take(60, 1));
  EXPECT_FALSE(budget.try_take(30, 20));
  EXPECT_TRUE(budget.try_take(40));
  a = {};
  EXPECT_EQ(budget.used(), 0);
  EXPECT_TRUE(budget.take(500, 0)) << "a request over the limit is granted alone";
}

TEST(Budget, AWaiterWakes) {
  Budget budget(10);
  auto held = budget.take(10, 0);
  std::thread waiter([&] { EXPECT_TRUE(budget.take(5, 60'000)); });
  held = {};
  waiter.join();
}

TEST(Threads, PoolRunsEverythingAndBoundsItsQueue) {
  std::atomic<int> done{0};
  {
    ThreadPool pool("test", 3, 2);
    for (int i = 0; i < 100; i++) pool.submit([&] { done++; });
    pool.drain();
    EXPECT_EQ(done, 100);
    pool.submit([&] { done++; });
  }
  EXPECT_EQ(done, 101) << "the destructor runs what is queued";
}

TEST(Threads, PeriodicIsWokenAndStops) {
  std::atomic<int> calls{0};
  Periodic job("job", 3'600'000, [&] { calls++; });
  job.wake();
  while (calls == 0) std::this_thread::yield();
  job.stop();
  int after = calls;
  job.wake();
  EXPECT_EQ(calls, after);
}

TEST(Result, CarriesErrors) {
  auto f = [](bool good) -> Result<int> {
    if (!good) return fail(ENOENT, "key");
    return 5;
  };
  auto g = [&](bool good) -> Result<void> {
    ZEST_ASSIGN(int value, f(good));
    EXPECT_EQ(value, 5);
    ZEST_TRY(f(good));
    return {};
  };
  EXPECT_EQ(code_of(g(true)), 0);
  EXPECT_EQ(code_of(g(false)), ENOENT);
  EXPECT_EQ(f(false).error().message(), "key: No such file or directory");
}

}  // namespace
}  // namespace zest
