// The text of the change log, and reading it. Which lines each operation writes: tests/conformance/changelog.cc.
#include "meta/changelog.h"

#include <gtest/gtest.h>

#include <set>

#include "base/fake_clock.h"
#include "meta/engine/kv/kv_engine.h"
#include "meta/engine/kv/memory.h"
#include "meta/testing.h"

namespace zest::meta {
namespace {

struct Fixture : ::testing::Test {
  std::shared_ptr<kv::MemoryStore> store = std::make_shared<kv::MemoryStore>();
  std::unique_ptr<Engine> engine = kv::make_kv_engine(store);
  std::atomic<uint64_t> sid{7};
  ChangeLog log{sid};

  std::vector<std::string> lines() {
    std::vector<std::string> out;
    const auto found = engine->log_lines(0, 1000);
    for (auto& line : *found) out.push_back(line.text);
    return out;
  }
  void commit(const std::function<void(Txn&)>& body) {
    ASSERT_TRUE(run(*engine, system_clock(), {}, [&](Txn& txn) -> Result<void> {
      body(txn);
      return {};
    }));
  }
};

TEST_F(Fixture, NothingIsWrittenWhileOff) {
  commit([&](Txn& txn) {
    log.add(txn, Time{1, 2}, "UNLINK", {1, "a"});
    EXPECT_FALSE(txn.dirty());
  });
  EXPECT_TRUE(lines().empty());
}

TEST_F(Fixture, LinesAsTheReferenceWritesThem) {
  log.switch_on(true);
  commit([&](Txn& txn) {
    log.add(txn, Time{1796063468, 58122269}, "CREATE",
            {Ino{1}, "ln", 0, 0, 3, uint16_t{511}, 0, std::string("some/targ,et%\xC3\xA9"), "linux", true}, Ino{8});
    log.add(txn, Time{5, 0}, "CLEANSESSION", {uint64_t{1}});
  });
  sid = 0;
  commit([&](Txn& txn) { log.add(txn, Time{6, 1}, "SETQUOTA", {0, Ino{9223372032828243969u}, -1, int64_t{100}}); });
  EXPECT_EQ(lines(), (std::vector<std::string>{
                         "1796063468.058122269|CREATE(1,ln,0,0,3,511,0,some/targ%2Cet%25%C3%A9,linux,true):8|(7,1)",
                         "5.000000000|CLEANSESSION(1)|(7,2)",
                         "6.000000001|SETQUOTA(0,9223372032828243969,-1,100)|(0,3)",
                     }));
}

TEST_F(Fixture, EveryByteComesBack) {
  log.switch_on(true);
  std::string all;
  for (int c = 0; c < 256; c++) all.push_back(static_cast<char>(c));
  commit([&](Txn& txn) { log.add(txn, Time{1, 0}, "SETXATTR", {2, "user.a", all, ""}, all); });
  const auto line = lines().at(0);
  for (char c : line) EXPECT_TRUE(c >= 0x20 && c < 0x7F);
  EXPECT_NE(line.find("%00%01"), line.npos);
  EXPECT_NE(line.find(" !%22#$%25&'%28%29*+%2C-./0"), line.npos);
  EXPECT_NE(line.find("[%5C]^"), line.npos);
  EXPECT_NE(line.find("}~%7F%80"), line.npos);
  const auto entry = parse_log_line(line);
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->args, (std::vector<std::string>{"2", "user.a", all, ""}));
  EXPECT_EQ(entry->results, std::vector<std::string>{all});
}

TEST(ParseLogLine, TakesALineApart) {
  const auto entry = parse_log_line("12.000000034|UNLINKBATCH(22,g,h%2C,9,false):25,24|(3,131)");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->at.sec, 12);
  EXPECT_EQ(entry->at.nsec, 34u);
  EXPECT_EQ(entry->op, "UNLINKBATCH");
  EXPECT_EQ(entry->args, (std::vector<std::string>{"22", "g", "h,", "9", "false"}));
  EXPECT_EQ(entry->results, (std::vector<std::string>{"25", "24"}));
  EXPECT_EQ(entry->sid, 3u);
  EXPECT_EQ(entry->number, 131u);
  const auto bare = parse_log_line("1.000000000|INIT_ENABLE_DIRSTATS()|(0,1)");
  ASSERT_TRUE(bare);
  EXPECT_TRUE(bare->args.empty());
  EXPECT_TRUE(bare->results.empty());
}

TEST(ParseLogLine, RefusesWhatIsNone) {
  for (const char* text : {"", "1", "1.2|", "1.2|A", "1.2|A(", "1.2|A()", "1.2|A()|", "1.2|A()|(1)", "1.2|A()|(1,)",
                           "x.2|A()|(1,2)", "1.2|A()|(1,x)"})
    EXPECT_FALSE(parse_log_line(text)) << text;
}

TEST_F(Fixture, LinesCanBeReadFromAVersionAndTrimmed) {
  log.switch_on(true);
  for (int i = 0; i < 5; i++) commit([&](Txn& txn) { log.add(txn, Time{i, 0}, "ACCESS", {i}); });
  const auto all = engine->log_lines(0, 10).value();
  ASSERT_EQ(all.size(), 5u);
  const auto range = engine->log_range().value();
  EXPECT_EQ(range.first, all.front().version);
  EXPECT_EQ(range.last, all.back().version);
  EXPECT_EQ(engine->log_lines(all[3].version, 10)->size(), 2u);
  EXPECT_EQ(engine->log_lines(all[1].version, 2)->back().version, all[2].version);
  ASSERT_TRUE(engine->trim_log(all[3].version));
  EXPECT_EQ(engine->log_range()->first, all[3].version);
}

// An engine whose lines a test chooses.
class Scripted : public testing::BareEngine {
 public:
  Scripted() { info_.dense_log = true; }
  Result<LogRange> log_range() override {
    return versions.empty() ? LogRange{} : LogRange{*versions.begin(), *versions.rbegin()};
  }
  Result<std::vector<LogLine>> log_lines(int64_t from, size_t) override {
    std::vector<LogLine> out;
    for (auto at = versions.lower_bound(from); at != versions.end(); ++at) out.push_back({*at, "x"});
    return out;
  }
  std::set<int64_t> versions;
};

TEST(LogTail, WaitsForACommitUnderWay) {
  Scripted engine;
  FakeClock clock;
  engine.versions = {1, 2, 4};  // 3 was given out, and is not committed yet
  LogTail tail(engine, clock, 1);
  auto read = [&] {
    std::vector<int64_t> out;
    const auto found = tail.next();
    for (auto& line : *found) out.push_back(line.version);
    return out;
  };
  using Versions = std::vector<int64_t>;
  EXPECT_EQ(read(), (Versions{1, 2}));
  EXPECT_EQ(read(), Versions{});
  engine.versions.insert(3);
  EXPECT_EQ(read(), (Versions{3, 4}));
  engine.versions.insert(7);  // 5 and 6 will never come
  EXPECT_EQ(read(), Versions{});
  clock.ms += 1999;
  EXPECT_EQ(read(), Versions{});
  clock.ms += 1;
  EXPECT_EQ(read(), Versions{7});
}

}  // namespace
}  // namespace zest::meta
