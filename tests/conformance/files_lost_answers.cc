// Operations on files over a database that breaks the connection around a commit: they take effect once and say so.
#include "breaking.h"
#include "files_fixture.h"

namespace zest::meta {
namespace {

using conformance::Breaks;

class LostAnswersOfFiles : public FilesTest {
 protected:
  void SetUp() override {
    FilesTest::SetUp();
    if (url_.empty()) return;
    set_format([](Format& format) { format.enable_acl = true; });
    Options options;
    options.heartbeat_ms = 3'600'000;  // only the operations meet the breaks
    options.no_background_jobs = true;
    far_ = connect(options, false, [this](std::unique_ptr<Engine> engine) {
      return std::make_unique<conformance::BreakingEngine>(std::move(engine), breaks_);
    });
  }
  void TearDown() override {
    far_.reset();
    FilesTest::TearDown();
  }
  template <class Call>
  void carried_out(const char* what, Breaks breaks, Call call) {
    breaks_ = breaks;
    auto result = call();
    EXPECT_TRUE(result) << what << ": " << why(result);
    EXPECT_EQ(breaks_.after + breaks_.before, 0) << what;
  }
  void all_operations(Breaks breaks);

  Breaks breaks_;
  std::unique_ptr<Client> far_;
};
FILES_ON_EVERY_ENGINE(LostAnswersOfFiles);

#define CARRIED_OUT(call) carried_out(#call, breaks, [&] { return call; })

void LostAnswersOfFiles::all_operations(Breaks breaks) {
  Client& c = *far_;
  Ino f = c.file("f"), g = c.file("g");
  ASSERT_OK(c->new_slice_id());  // so that no operation refills the range of ids
  CARRIED_OUT(c.put(f, 0, std::string(10000, 'a')));
  CARRIED_OUT(c.put(f, 5000, std::string(10000, 'b')));
  EXPECT_EQ(c.records(f, 0).size(), 2 * kSliceRecord);
  CARRIED_OUT(c->truncate(root_, f, 12000, true));
  CARRIED_OUT(c->fallocate(root_, f, kFallocPunchHole | kFallocKeepSize, 0, 1000));
  CARRIED_OUT(c->copy_file_range(root_, f, 0, g, 0, 20000));
  std::string shown = std::string(1000, '\0') + std::string(4000, 'a') + std::string(7000, 'b');
  EXPECT_EQ(c.get(f), shown);
  EXPECT_EQ(c.get(g), shown);
  CARRIED_OUT(c->compact_chunk(f, 0));
  EXPECT_EQ(c.records(f, 0).size(), kSliceRecord);
  EXPECT_EQ(c.get(f), shown);
  CARRIED_OUT(c->setxattr(root_, f, "user.a", "1", kXattrCreate));
  CARRIED_OUT(c->removexattr(root_, f, "user.a"));
  EXPECT_ERR(c->getxattr(root_, f, "user.a"), ENODATA);
  AclRule minimal;
  minimal.owner = 7, minimal.group = 0, minimal.other = 0;
  CARRIED_OUT(c->set_acl(root_, f, false, minimal));
  EXPECT_EQ(c.attr(f).mode, 0700);
  CARRIED_OUT(c->flock(root_, f, 1, LockType::kWrite, false));
  CARRIED_OUT(c->flock(root_, f, 1, LockType::kUnlock, false));
  CARRIED_OUT(c->setlk(root_, f, 1, PosixLock{LockType::kWrite, 1, 0, 99}, false));
  CARRIED_OUT(c->setlk(root_, f, 1, PosixLock{LockType::kUnlock, 1, 10, 19}, false));
  CARRIED_OUT(c->setlk(root_, f, 1, PosixLock{LockType::kUnlock, 1, 0, kLockEnd}, false));
  ASSERT_OK(c->open(root_, f, O_RDWR));
  ASSERT_OK(c->unlink(root_, kRootIno, "f"));
  CARRIED_OUT(c->close(f));
  EXPECT_FALSE(c.exists(Key::inode(f)));
  ASSERT_OK(c->unlink(root_, kRootIno, "g"));
  // Of each file's data: the chunk, or the record of the file.
  for (Ino ino : {f, g}) CARRIED_OUT(c.state().deleter.delete_file_data(c.state(), {{ino, 12000}}));
  EXPECT_EQ(c.records(f, 0) + c.records(g, 0), "");
  EXPECT_FALSE(c.exists(Key::del_file(g, 12000)));
  ASSERT_OK(c->flush_ledgers());
}

TEST_P(LostAnswersOfFiles, after_the_commit) { all_operations({.after = 1}); }
TEST_P(LostAnswersOfFiles, before_the_commit) { all_operations({.before = 1}); }

}  // namespace
}  // namespace zest::meta
