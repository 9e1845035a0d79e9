// A database that carries out a commit and breaks the connection before it answers, or breaks it before: the operation
// must take effect once and say so.
#include "breaking.h"
#include "fixture.h"

namespace zest::conformance {
namespace {

using namespace meta;

class LostAnswers : public Conformance {
 protected:
  void choose(Format& format) override { format.trash_days = 1, format.enable_acl = true; }
  void SetUp() override {
    Conformance::SetUp();
    if (!meta_) return;
    auto engine = open_engine(database_->url(), {});
    ASSERT_TRUE(engine);
    Options options;
    options.no_background_jobs = true;
    far_ = std::make_unique<Meta>(std::make_unique<BreakingEngine>(std::move(*engine), breaks_), clock_, options);
    ASSERT_OK(far_->load());
    ASSERT_OK(far_->start_session({}));
  }
  void TearDown() override {
    if (far_) {
      EXPECT_OK(far_->close_session());
    }
    far_.reset();
    Conformance::TearDown();
  }
  template <class Call>
  void carried_out(const char* what, Call call) {
    auto result = call();
    EXPECT_TRUE(result) << what << ": " << result.error().message();
    EXPECT_EQ(0, breaks_.after + breaks_.before) << what;
  }
  void all_operations(Breaks breaks);

  Breaks breaks_;
  std::unique_ptr<Meta> far_;
};
ON_EVERY_ENGINE(LostAnswers);

void LostAnswers::all_operations(Breaks breaks) {
  const Ino dir = mkdir(kRootIno, "d");
#define CARRIED_OUT(call) \
  breaks_ = breaks;       \
  carried_out(#call, [&] { return far_->call; })
  CARRIED_OUT(mkdir(root_, dir, "sub", 0755, 0));
  CARRIED_OUT(mknod(root_, dir, "f", FileType::kFile, 0644, 0, 0));
  CARRIED_OUT(symlink(root_, dir, "l", "target"));
  const Ino file = find(dir, "f");
  CARRIED_OUT(link(root_, file, dir, "g"));
  CARRIED_OUT(rename(root_, dir, "l", dir, "m", 0));
  CARRIED_OUT(rename(root_, dir, "m", dir, "w", kRenameWhiteout));
  EXPECT_EQ(FileType::kChar, attr(find(dir, "m")).type);
  CARRIED_OUT(unlink(root_, dir, "m"));
  CARRIED_OUT(rename(root_, dir, "w", dir, "m", 0));
  CARRIED_OUT(rename(root_, dir, "m", dir, "sub", kRenameExchange));
  CARRIED_OUT(setattr(root_, file, kSetMode, Attr{.mode = 0600}));
  // The first removal makes the trash's directory, too.
  breaks_ = breaks;
  EXPECT_OK(far_->unlink(root_, dir, "g"));
  CARRIED_OUT(unlink(root_, dir, "sub"));
  CARRIED_OUT(rmdir(root_, dir, "m"));
#undef CARRIED_OUT
  EXPECT_EQ(names(dir), std::vector<std::string>{"f"});
  EXPECT_EQ(attr(file).nlink, 2u);
  EXPECT_EQ(attr(file).mode, 0600);
  EXPECT_EQ(names(hour_dir()).size(), 4u);
}

TEST_P(LostAnswers, a_lost_race_leaves_young_times_of_the_parent) {
  const Ino dir = mkdir(kRootIno, "d");
  const Time made = attr(dir).mtime;
  clock_.advance(10);
  breaks_.conflicts = 1;
  ASSERT_OK(far_->mknod(root_, dir, "a", FileType::kFile, 0644, 0, 0));
  EXPECT_EQ(attr(dir).mtime, made);
  ASSERT_OK(far_->mknod(root_, dir, "a2", FileType::kFile, 0644, 0, 0));  // others are still at it
  EXPECT_EQ(attr(dir).mtime, made);
  ASSERT_OK(far_->mkdir(root_, dir, "b", 0755, 0));
  const Time later = attr(dir).mtime;
  EXPECT_GT(later, made);
  clock_.advance(1000);
  breaks_.conflicts = 1;
  ASSERT_OK(far_->mknod(root_, dir, "c", FileType::kFile, 0644, 0, 0));
  EXPECT_GT(attr(dir).mtime, later);
  clock_.advance(1000);  // they are gone
  for (const char* name : {"e", "f"}) {
    clock_.advance(1);
    ASSERT_OK(far_->mknod(root_, dir, name, FileType::kFile, 0644, 0, 0));
    EXPECT_EQ(attr(dir).mtime, clock_.now());
  }
}

TEST_P(LostAnswers, after_the_commit) { all_operations({.after = 1}); }
TEST_P(LostAnswers, before_the_commit) { all_operations({.before = 1}); }

TEST_P(LostAnswers, of_a_new_access_rule) {
  const Ino dir = mkdir(kRootIno, "d", 0777);
  AclRule rule;
  rule.owner = 7, rule.group = 5, rule.mask = 7, rule.other = 1;
  rule.users = {{1000, 6}};
  ASSERT_OK(meta_->set_acl(root_, dir, true, rule));
  breaks_.after = 2;  // the rule, then the file
  auto file = far_->mknod(root_, dir, "f", FileType::kFile, 0664, 0, 0);
  ASSERT_OK(file);
  auto access = meta_->get_acl(root_, file->ino, false);
  ASSERT_OK(access);
  EXPECT_EQ(access->users, rule.users);
}

}  // namespace
}  // namespace zest::conformance
