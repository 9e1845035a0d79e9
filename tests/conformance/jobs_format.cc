// Creating a volume and changing its settings: section 18 of semantics.md, and the records of a new volume.
#include "fixture.h"
#include "meta/state.h"

namespace zest::conformance {
namespace {

using meta::Key;
using meta::Table;
using meta::Txn;
using meta::Value;

class Formats : public Conformance {
 protected:
  // A client that has not formatted anything yet, on an empty database.
  void SetUp() override {
    database_ = GetParam().make();
    auto engine = meta::open_engine(database_->url(), {});
    ASSERT_OK(engine);
    fresh_ = std::make_unique<Meta>(std::move(*engine), clock_, meta::Options{});
    wanted_.name = "formats";
    wanted_.uuid = "4e4f4e45-0000-4000-8000-000000000003";
    wanted_.bucket = "/nowhere/";
  }
  void TearDown() override {}

  template <class T>
  std::optional<T> record(const Key& key) {
    std::optional<T> found;
    EXPECT_OK(fresh_->state().read([&](Txn& txn) -> Result<void> {
      auto value = txn.get(key);
      if (!value) return fail(std::move(value.error()));
      if (const auto* typed = std::get_if<T>(*value)) found = *typed;
      return {};
    }));
    return found;
  }
  int64_t counter(const char* name) {
    int64_t value = -1;
    EXPECT_OK(fresh_->state().read([&](Txn& txn) -> Result<void> {
      auto found = txn.counter(name);
      if (!found) return fail(std::move(found.error()));
      value = *found;
      return {};
    }));
    return value;
  }
  size_t rows(Table table) {
    size_t n = 0;
    EXPECT_OK(fresh_->engine().scan(table, 0, [&](const Key&, const Value&) {
      n++;
      return true;
    }));
    return n;
  }
  Format stored() {
    auto json = record<std::string>(Key::setting());
    EXPECT_TRUE(json);
    auto parsed = parse_format(json.value_or("{}"));
    EXPECT_TRUE(parsed);
    return parsed.value_or(Format{});
  }

  std::unique_ptr<Meta> fresh_;
  Format wanted_;
};
ON_EVERY_ENGINE(Formats);

TEST_P(Formats, records_of_a_new_volume) {
  EXPECT_NE(0, code_of(fresh_->load()));
  ASSERT_OK(fresh_->format(wanted_, false));
  for (auto [ino, mode] : {std::pair{kRootIno, 0777}, std::pair{kTrashIno, 0555}}) {
    auto attr = record<Attr>(Key::inode(ino));
    ASSERT_TRUE(attr);
    EXPECT_EQ(FileType::kDirectory, attr->type);
    EXPECT_EQ(mode, attr->mode);
    EXPECT_EQ(0u, attr->uid);
    EXPECT_EQ(2u, attr->nlink);
    EXPECT_EQ(4096u, attr->length);
    EXPECT_EQ(kRootIno, attr->parent);
    EXPECT_EQ((Time{clock_.now().sec, 0}), attr->mtime);
    EXPECT_EQ(attr->mtime, attr->atime);
    EXPECT_EQ(attr->mtime, attr->ctime);
  }
  EXPECT_EQ(2u, rows(Table::kInodes));
  EXPECT_EQ(0u, rows(Table::kEntries));
  EXPECT_EQ(0u, rows(Table::kDirStats));
  EXPECT_EQ(0, counter(meta::counter::kUsedSpace));
  EXPECT_EQ(0, counter(meta::counter::kTotalInodes));
  EXPECT_EQ(0, counter(meta::counter::kNextSession));
  const Format format = stored();
  EXPECT_EQ("1.1.0-A", format.min_client_version);
  EXPECT_EQ(wanted_.uuid, format.uuid);
  ASSERT_OK(fresh_->load());
  auto made = fresh_->mknod({}, kRootIno, "first", FileType::kFile, 0644, 0, 0);
  ASSERT_OK(made);
  EXPECT_EQ(Ino{2}, made->ino);
  auto slice = fresh_->new_slice_id();
  ASSERT_OK(slice);
  EXPECT_EQ(SliceId{1}, *slice);
}

TEST_P(Formats, no_trash_root_without_trash) {
  wanted_.trash_days = 0;
  ASSERT_OK(fresh_->format(wanted_, false));
  EXPECT_FALSE(record<Attr>(Key::inode(kTrashIno)));
  Format format = stored();
  format.trash_days = 2;
  ASSERT_OK(fresh_->change_format(format));
  EXPECT_TRUE(record<Attr>(Key::inode(kTrashIno)));
  EXPECT_EQ(2, stored().trash_days);
}

TEST_P(Formats, again_changes_nothing) {
  ASSERT_OK(fresh_->format(wanted_, false));
  const auto root = record<Attr>(Key::inode(kRootIno));
  const std::string setting = *record<std::string>(Key::setting());
  ASSERT_OK(fresh_->load());
  ASSERT_OK(fresh_->mknod({}, kRootIno, "first", FileType::kFile, 0644, 0, 0));
  ASSERT_OK(fresh_->flush_ledgers());
  const int64_t next = counter(meta::counter::kNextInode);
  clock_.advance(5000);
  wanted_.uuid = "4e4f4e45-0000-4000-8000-000000000004";
  ASSERT_OK(fresh_->format(wanted_, false));
  EXPECT_EQ(setting, *record<std::string>(Key::setting())) << "the UUID is kept";
  EXPECT_EQ(root->atime, record<Attr>(Key::inode(kRootIno))->atime);
  EXPECT_EQ(next, counter(meta::counter::kNextInode));
  EXPECT_EQ(4096, counter(meta::counter::kUsedSpace));
}

TEST_P(Formats, immutable_members_are_refused) {
  ASSERT_OK(fresh_->format(wanted_, false));
  const std::string before = *record<std::string>(Key::setting());
  auto refused = [&](const char* what, const std::function<void(Format&)>& change) {
    Format format = wanted_;
    change(format);
    auto done = fresh_->format(format, false);
    EXPECT_ERRNO(EEXIST, done) << what;
    ASSERT_FALSE(done);
    EXPECT_NE(std::string::npos, done.error().what.find(what)) << done.error().what;
    EXPECT_EQ(before, *record<std::string>(Key::setting())) << what;
    EXPECT_ERRNO(EINVAL, fresh_->change_format(format)) << what;
    EXPECT_EQ(before, *record<std::string>(Key::setting())) << what;
  };
  refused("name", [](Format& f) { f.name = "another"; });
  refused("block size", [](Format& f) { f.block_size_kib = 1024; });
  refused("compression", [](Format& f) { f.compression = "zstd"; });
  refused("shards", [](Format& f) { f.shards = 4; });
  refused("hash prefix", [](Format& f) { f.hash_prefix = true; });
  Format format = wanted_;
  format.block_size_kib = 1024;
  ASSERT_OK(fresh_->format(format, true));
  EXPECT_EQ(1024, stored().block_size_kib);
  EXPECT_EQ(wanted_.uuid, stored().uuid);
}

TEST_P(Formats, bad_names_touch_nothing) {
  wanted_.name = "No Good";
  EXPECT_ERRNO(EINVAL, fresh_->format(wanted_, false));
  EXPECT_NE(0, code_of(fresh_->load()));
}

TEST_P(Formats, members_of_newer_clients_survive) {
  ASSERT_OK(fresh_->format(wanted_, false));
  ASSERT_OK(fresh_->state().run({}, [&](Txn& txn) -> Result<void> {
    std::string json = *dump_format(stored());
    json.insert(json.rfind('}'), ",\"Future\":{\"a\":[1,2]}");
    txn.put(Key::setting(), json);
    return {};
  }));
  ASSERT_OK(fresh_->load());
  Format format = wanted_;  // as a client that never saw it
  format.capacity = 4096;
  ASSERT_OK(fresh_->change_format(format));
  EXPECT_NE(std::string::npos, record<std::string>(Key::setting())->find("Future"));
  format.inodes = 10;
  ASSERT_OK(fresh_->format(format, false));
  EXPECT_NE(std::string::npos, record<std::string>(Key::setting())->find("Future"));
}

TEST_P(Formats, version_gates_rise_and_never_fall) {
  ASSERT_OK(fresh_->format(wanted_, false));
  Format format = stored();
  format.enable_acl = true;
  ASSERT_OK(fresh_->change_format(format));
  EXPECT_EQ("1.2.0-A", stored().min_client_version);
  format = stored();
  format.min_client_version = "1.1.0-A";
  EXPECT_ERRNO(EINVAL, fresh_->change_format(format));
  format = stored();
  format.enable_acl = false;
  EXPECT_ERRNO(EINVAL, fresh_->change_format(format));
  ASSERT_OK(fresh_->format(wanted_, false));
  EXPECT_TRUE(stored().enable_acl);
  EXPECT_EQ("1.2.0-A", stored().min_client_version);
}

TEST_P(Formats, statistics_start_anew_when_switched_on) {
  ASSERT_OK(fresh_->format(wanted_, false));
  ASSERT_OK(fresh_->load());
  auto dir = fresh_->mkdir({}, kRootIno, "d", 0755, 0);
  ASSERT_OK(dir);
  ASSERT_OK(fresh_->flush_ledgers());
  EXPECT_LT(0u, rows(Table::kDirStats));
  ASSERT_OK(fresh_->set_quota(Meta::QuotaKind::kDirectory, raw(dir->ino), 1 << 20, {}, false));
  Format format = stored();
  format.dir_stats = false;
  EXPECT_ERRNO(EBUSY, fresh_->change_format(format)) << "quotas need them";
  ASSERT_OK(fresh_->delete_quota(Meta::QuotaKind::kDirectory, raw(dir->ino)));
  ASSERT_OK(fresh_->change_format(format));
  ASSERT_OK(fresh_->mknod({}, dir->ino, "f", FileType::kFile, 0644, 0, 0));
  ASSERT_OK(fresh_->flush_ledgers());
  format.dir_stats = true;
  ASSERT_OK(fresh_->change_format(format));
  EXPECT_EQ(0u, rows(Table::kDirStats));
  auto stat = fresh_->dir_stat(dir->ino);
  ASSERT_OK(stat);
  EXPECT_EQ((DirStat{0, 4096, 1}), *stat);
}

TEST_P(Formats, reset_leaves_nothing) {
  ASSERT_OK(fresh_->format(wanted_, false));
  ASSERT_OK(fresh_->load());
  ASSERT_OK(fresh_->mkdir({}, kRootIno, "d", 0755, 0));
  ASSERT_OK(fresh_->reset());
  EXPECT_NE(0, code_of(fresh_->load()));
  ASSERT_OK(fresh_->format(wanted_, false));
  EXPECT_EQ(2u, rows(Table::kInodes));
  EXPECT_EQ(0u, rows(Table::kEntries));
}

}  // namespace
}  // namespace zest::conformance
