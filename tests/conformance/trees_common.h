// What the tests of trees share: a tree with one of everything, and records written past the operations.
#pragma once

#include "fixture.h"
#include "meta/state.h"

namespace zest::conformance {

class Trees : public Conformance {
 protected:
  // /t {a 5000 B, link -> a (hard), l symlink, p fifo, sub {b 70 MiB sparse, deep {c empty}}, empty {}}
  Ino make_tree(const std::string& name = "t") {
    const Ino top = mkdir(kRootIno, name);
    const Ino a = mkfile(top, "a");
    write(a, 0, 5000);
    EXPECT_OK(meta_->link(root_, a, top, "link"));
    mksymlink(top, "l", "some/target");
    EXPECT_OK(meta_->mknod(root_, top, "p", FileType::kFifo, 0600, 0, 0));
    const Ino sub = mkdir(top, "sub");
    const Ino b = mkfile(sub, "b", 0640);
    write(b, 0, 100);
    write(b, 1, 6 << 20);
    EXPECT_OK(meta_->setxattr(root_, b, "user.k", "v", 0));
    mkfile(mkdir(sub, "deep"), "c");
    mkdir(top, "empty");
    return top;
  }
  static constexpr uint64_t kTreeFiles = 6, kTreeDirs = 4;  // with the top; the hard link counts twice
  static constexpr uint64_t kTreeLength = 5000 * 2 + (70 << 20);
  static constexpr uint64_t kTreeSpace = 8192 * 2 + 4096 * 2 + (70 << 20) + 4096 + 4 * 4096;

  SliceId write(Ino ino, ChunkIndex chunk, uint32_t length) {
    auto id = meta_->new_slice_id();
    EXPECT_OK(id);
    Meta::ChunkWrite write{chunk, Slice{0, *id, length, 0, length}, clock_.now()};
    EXPECT_OK(meta_->write(ino, std::span(&write, 1)));
    return *id;
  }
  // Writes records past the operations.
  void put(const std::function<void(meta::Txn&)>& change) {
    ASSERT_OK(meta_->state().run({}, [&](meta::Txn& txn) -> Result<void> {
      change(txn);
      return {};
    }));
  }
  std::optional<Attr> stored_attr(Ino ino) {
    std::optional<Attr> found;
    EXPECT_OK(meta_->state().read([&](meta::Txn& txn) -> Result<void> {
      auto attr = txn.attr(ino);
      if (!attr) return fail(std::move(attr.error()));
      found = *attr;
      return {};
    }));
    return found;
  }
  std::optional<DirStat> stored_stat(Ino ino) {
    std::optional<DirStat> found;
    EXPECT_OK(meta_->state().read([&](meta::Txn& txn) -> Result<void> {
      auto stat = txn.dir_stat(ino);
      if (!stat) return fail(std::move(stat.error()));
      found = *stat;
      return {};
    }));
    return found;
  }
  size_t rows(meta::Table table) {
    size_t n = 0;
    EXPECT_OK(meta_->engine().scan(table, 0, [&](const meta::Key&, const meta::Value&) {
      n++;
      return true;
    }));
    return n;
  }
};

}  // namespace zest::conformance
