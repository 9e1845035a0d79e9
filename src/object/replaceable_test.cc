#include "object/replaceable.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "object/decorator.h"
#include "object/mem_store.h"

namespace zest::object {
namespace {

// Counts its calls of sync(), and gets that are asked for when it is held up.
class Watched : public Decorator {
 public:
  struct Seen {
    std::atomic<int> syncs{0}, gets{0};
    std::atomic<bool> hold{false}, gone{false};
  };
  Watched(std::unique_ptr<Storage> inner, Seen& seen) : Decorator(std::move(inner)), seen_(seen) {}
  ~Watched() override { seen_.gone = true; }
  Result<void> sync() override {
    seen_.syncs++;
    return inner_->sync();
  }
  Result<std::string> get(const std::string& key, uint64_t offset, uint64_t size) override {
    seen_.gets++;
    while (seen_.hold) std::this_thread::yield();
    return inner_->get(key, offset, size);
  }
  RequestCounts counts() const override { return {static_cast<uint64_t>(seen_.gets), 1}; }

 private:
  Seen& seen_;
};

std::unique_ptr<Storage> store(const std::string& name, Watched::Seen& seen) {
  return std::make_unique<Watched>(make_mem_store("replaceable-" + name), seen);
}

TEST(Replaceable, CallsGoToTheStorageOfTheMoment) {
  Watched::Seen first, second;
  Replaceable storage(store("a", first));
  ASSERT_TRUE(storage.put("k", "one", {}));
  EXPECT_EQ(storage.get("k", 0, kToEnd).value_or("-"), "one");
  storage.replace(store("b", second));
  EXPECT_EQ(code_of(storage.get("k", 0, kToEnd)), ENOENT);
  ASSERT_TRUE(storage.put("k", "two", {}));
  EXPECT_EQ(storage.get("k", 0, kToEnd).value_or("-"), "two");
  EXPECT_EQ(first.gets, 1);
  EXPECT_EQ(second.gets, 2);
  EXPECT_EQ(storage.counts().hedges, 3u) << "they only grow";
  EXPECT_EQ(storage.counts().hedges_won, 2u);
}

TEST(Replaceable, SyncsTheOneBeforeToo) {
  Watched::Seen first, second;
  Replaceable storage(store("c", first));
  storage.replace(store("d", second));
  ASSERT_TRUE(storage.sync());
  EXPECT_EQ(first.syncs, 1);
  EXPECT_EQ(second.syncs, 1);
}

TEST(Replaceable, ACallUnderWayKeepsItsStorage) {
  Watched::Seen first, second, third;
  Replaceable storage(store("e", first));
  ASSERT_TRUE(storage.put("k", "old", {}));
  first.hold = true;
  std::thread reader([&] { EXPECT_EQ(storage.get("k", 0, kToEnd).value_or("-"), "old"); });
  while (first.gets == 0) std::this_thread::yield();
  storage.replace(store("f", second));
  storage.replace(store("g", third));
  EXPECT_FALSE(first.gone);
  first.hold = false;
  reader.join();
  EXPECT_TRUE(first.gone);
}

}  // namespace
}  // namespace zest::object
