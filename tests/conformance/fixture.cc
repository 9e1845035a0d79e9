#include "fixture.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "recount.h"

namespace zest::conformance {

Time TestClock::now() const {
  const int64_t ms = ms_;
  return {ms / 1000, static_cast<uint32_t>(ms % 1000) * 1'000'000};
}

void TestClock::sleep_ms(int64_t ms) const {
  std::this_thread::sleep_for(std::chrono::milliseconds(std::min<int64_t>(ms, 20)));
  ms_ += ms;
}

Result<void> TestData::delete_slice(SliceId id, uint32_t) {
  std::lock_guard lock(mutex_);
  deleted_.push_back(id);
  return {};
}

Result<void> TestData::compact(const CompactionPlan&, SliceId, uint8_t) { return {}; }

bool TestData::was_deleted(SliceId id) const {
  std::lock_guard lock(mutex_);
  return std::find(deleted_.begin(), deleted_.end(), id) != deleted_.end();
}

Context user(uint32_t uid, uint32_t gid, std::vector<uint32_t> gids) {
  Context ctx;
  ctx.uid = uid;
  ctx.gid = gid;
  ctx.gids = std::move(gids);
  ctx.check_permission = true;
  return ctx;
}

void Conformance::SetUp() {
  database_ = GetParam().make();
  auto engine = meta::open_engine(database_->url(), {});
  ASSERT_TRUE(engine) << engine.error().message();
  Format format;
  format.name = "conformance";
  format.uuid = "4e4f4e45-0000-4000-8000-000000000001";
  format.bucket = "/nowhere/";
  format.trash_days = 0;
  choose(format);
  Meta formatter(std::move(*engine), clock_, {});
  auto formatted = formatter.format(format, false);
  ASSERT_TRUE(formatted) << formatted.error().message();
  meta_ = client();
  ASSERT_TRUE(meta_);
}

std::unique_ptr<Meta> Conformance::client(meta::Options options, bool background_jobs) {
  options.no_background_jobs = !background_jobs;
  meta::EngineOptions engine_options;
  engine_options.read_only = options.read_only;
  auto engine = meta::open_engine(database_->url(), engine_options);
  EXPECT_TRUE(engine) << engine.error().message();
  if (!engine) return nullptr;
  auto made = std::make_unique<Meta>(std::move(*engine), clock_, options);
  made->set_data_hooks(&data_);
  auto loaded = made->load();
  EXPECT_TRUE(loaded) << loaded.error().message();
  if (!loaded) return nullptr;
  SessionInfo info;
  info.version = kCompatVersion;
  info.host = "test";
  auto started = made->start_session(info);
  EXPECT_TRUE(started) << started.error().message();
  if (!started) return nullptr;
  return made;
}

void Conformance::TearDown() {
  if (!meta_) return;
  if (verify_at_end_ && !HasFatalFailure()) verify();
  EXPECT_OK(meta_->close_session());
  meta_.reset();
}

void Conformance::change_format(const std::function<void(Format&)>& change) {
  Format format = meta_->format();
  change(format);
  EXPECT_OK(meta_->change_format(format));
  EXPECT_OK(meta_->load());
}

Ino Conformance::mkdir(Ino parent, const std::string& name, uint16_t mode, const Context& ctx) {
  auto made = meta_->mkdir(ctx, parent, name, mode, 0);
  EXPECT_TRUE(made) << name << ": " << made.error().message();
  return made ? made->ino : Ino{0};
}

Ino Conformance::mkfile(Ino parent, const std::string& name, uint16_t mode, const Context& ctx) {
  auto made = meta_->mknod(ctx, parent, name, FileType::kFile, mode, 0, 0);
  EXPECT_TRUE(made) << name << ": " << made.error().message();
  return made ? made->ino : Ino{0};
}

Ino Conformance::mksymlink(Ino parent, const std::string& name, const std::string& target) {
  auto made = meta_->symlink(root_, parent, name, target);
  EXPECT_TRUE(made) << name << ": " << made.error().message();
  return made ? made->ino : Ino{0};
}

void Conformance::grow(Ino ino, uint64_t length) { EXPECT_OK(meta_->truncate(root_, ino, length, false)); }

Attr Conformance::attr(Ino ino) {
  auto found = meta_->getattr(root_, ino);
  EXPECT_TRUE(found) << "inode " << raw(ino) << ": " << found.error().message();
  return found ? *found : Attr{};
}

Ino Conformance::find(Ino parent, const std::string& name) {
  auto found = meta_->lookup(root_, parent, name);
  if (found) return found->ino;
  EXPECT_EQ(ENOENT, found.error().code) << name << ": " << found.error().message();
  return Ino{0};
}

std::vector<std::string> Conformance::names(Ino dir) {
  auto listed = meta_->readdir(root_, dir, false);
  EXPECT_TRUE(listed) << listed.error().message();
  std::vector<std::string> names;
  if (listed)
    for (const auto& entry : *listed) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  return names;
}

Ino Conformance::hour_dir() { return find(kTrashIno, trash_hour_name(clock_.now().sec)); }

Ino Conformance::find_trashed(Ino parent, Ino ino, const std::string& name) {
  const Ino hour = hour_dir();
  return raw(hour) == 0 ? Ino{0} : find(hour, trash_entry_name(parent, ino, name));
}

void Conformance::verify() {
  // the tables are read one after another: a deletion under way would be seen half done
  meta_->drain_deletes();
  EXPECT_OK(meta_->flush_ledgers());
  for (const auto& difference : recount(meta_->engine())) ADD_FAILURE() << difference;
}

}  // namespace zest::conformance
