// Random histories of several clients: one after the other beside a plain model, and at the same time with a recount.
#include <random>
#include <set>
#include <thread>

#include "fixture.h"
#include "tree_model.h"

namespace zest::conformance {
namespace {

constexpr int kSteps = 600;

// Draws operations and carries each out on a client and on the model.
class History {
 public:
  History(std::vector<Meta*> clients, uint32_t seed) : clients_(std::move(clients)), random_(seed) {}

  TreeModel& model() { return model_; }
  std::string step();  // empty, or what differs

 private:
  int pick(int below) { return static_cast<int>(random_() % static_cast<uint32_t>(below)); }
  std::string name() { return std::string(1, static_cast<char>('a' + pick(5))); }
  ModelNode* dir() {
    // Rarely one that was removed, or might be by now.
    if (pick(40) == 0 && !seen_dirs_.empty()) return seen_dirs_[static_cast<size_t>(pick(int(seen_dirs_.size())))];
    ModelNode* at = model_.root();
    while (pick(3) != 0) {
      std::vector<ModelNode*> below;
      for (const auto& [child_name, child] : at->children)
        if (child->is_dir()) below.push_back(child.get());
      if (below.empty()) break;
      at = below[static_cast<size_t>(pick(int(below.size())))];
    }
    return at;
  }
  static std::string compare(const std::string& what, int expected, int got) {
    if (expected == got) return {};
    return what + ": expected errno " + std::to_string(expected) + ", got " + std::to_string(got);
  }
  std::string make(Meta& meta, FileType type);
  std::string remove(Meta& meta, bool directory);
  std::string move(Meta& meta);
  std::string link(Meta& meta);
  std::string resize(Meta& meta);

  const std::vector<Meta*> clients_;
  std::minstd_rand random_;
  TreeModel model_;
  std::vector<ModelNode*> seen_dirs_;
  const Context root_;
};

std::string History::make(Meta& meta, FileType type) {
  ModelNode *parent = dir(), *made = nullptr;
  const std::string child = name();
  const int expected = model_.make(parent, child, type, &made);
  auto got = meta.mknod(root_, parent->ino, child, type, 0755, 0, 0, type == FileType::kSymlink ? "target" : "");
  if (made && got) made->ino = got->ino;
  if (made && got && made->is_dir()) seen_dirs_.push_back(made);
  return compare("make " + child, expected, code_of(got));
}

std::string History::remove(Meta& meta, bool directory) {
  ModelNode* parent = dir();
  const std::string child = name();
  const int expected = directory ? model_.rmdir(parent, child) : model_.unlink(parent, child);
  const auto got = directory ? meta.rmdir(root_, parent->ino, child) : meta.unlink(root_, parent->ino, child);
  return compare((directory ? "rmdir " : "unlink ") + child, expected, code_of(got));
}

std::string History::move(Meta& meta) {
  ModelNode *from = dir(), *to = pick(2) ? from : dir(), *whiteout = nullptr;
  const std::string old_name = name(), new_name = name();
  constexpr uint32_t kFlags[] = {0, 0, 0, meta::kRenameNoReplace, meta::kRenameExchange, meta::kRenameWhiteout};
  const uint32_t flags = kFlags[pick(6)];
  const int expected = model_.rename(from, old_name, to, new_name, flags, &whiteout);
  const auto got = meta.rename(root_, from->ino, old_name, to->ino, new_name, flags);
  if (whiteout)
    if (auto made = meta.lookup(root_, from->ino, old_name)) whiteout->ino = made->ino;
  return compare("rename " + old_name + " " + new_name + " flags " + std::to_string(flags), expected, code_of(got));
}

std::string History::link(Meta& meta) {
  ModelNode *source_dir = dir(), *to = dir();
  ModelNode* file = source_dir->child(name());
  if (!file) return {};
  const std::string new_name = name();
  const Ino ino = file->ino;
  const int expected = model_.link(file, to, new_name);
  return compare("link " + new_name, expected, code_of(meta.link(root_, ino, to->ino, new_name)));
}

std::string History::resize(Meta& meta) {
  ModelNode* file = dir()->child(name());
  if (!file || file->type != FileType::kFile) return {};
  file->length = static_cast<uint64_t>(pick(30'000));
  return compare("truncate", 0, code_of(meta.truncate(root_, file->ino, file->length, false)));
}

std::string History::step() {
  Meta& meta = *clients_[static_cast<size_t>(pick(int(clients_.size())))];
  switch (pick(12)) {
    case 0:
    case 1: return make(meta, FileType::kDirectory);
    case 2:
    case 3: return make(meta, FileType::kFile);
    case 4: return make(meta, FileType::kSymlink);
    case 5: return remove(meta, true);
    case 6: return remove(meta, false);
    case 7:
    case 8: return resize(meta);
    case 9: return link(meta);
    default: return move(meta);
  }
}

void expect_same(Meta& meta, const ModelNode& dir, bool links, const std::string& path) {
  const Context root;
  auto listed = meta.readdir(root, dir.ino, true);
  ASSERT_TRUE(listed) << path << ": " << listed.error().message();
  std::set<std::string> names;
  for (const auto& entry : *listed) {
    names.insert(entry.name);
    const ModelNode* node = dir.child(entry.name);
    ASSERT_TRUE(node) << path << "/" << entry.name << " should not be there";
    EXPECT_EQ(entry.entry.ino, node->ino) << path << "/" << entry.name;
    EXPECT_EQ(entry.entry.type, node->type) << path << "/" << entry.name;
    ASSERT_TRUE(entry.attr) << path << "/" << entry.name;
    if (links || node->is_dir()) {
      EXPECT_EQ(entry.attr->nlink, node->nlink) << path << "/" << entry.name;
    }
    if (node->type == FileType::kFile) {
      EXPECT_EQ(entry.attr->length, node->length) << path << "/" << entry.name;
    }
    if (node->is_dir()) expect_same(meta, *node, links, path + "/" + entry.name);
  }
  EXPECT_EQ(names.size(), dir.children.size()) << path;
}

class RandomNames : public Conformance {
 protected:
  void run(bool trash, uint32_t seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    auto other = client();
    ASSERT_TRUE(other);
    History history({meta_.get(), other.get()}, seed);
    for (int i = 0; i < kSteps; i++) {
      clock_.advance(37);
      const std::string difference = history.step();
      ASSERT_EQ("", difference) << "step " << i;
    }
    expect_same(*meta_, *history.model().root(), !trash, "");
    EXPECT_OK(other->close_session());
    verify();
  }
};
ON_EVERY_ENGINE(RandomNames);

TEST_P(RandomNames, are_what_a_plain_tree_says) { run(false, 20'261'130); }
TEST_P(RandomNames, are_what_a_plain_tree_says_again) { run(false, 7); }

class RandomNamesWithTrash : public RandomNames {
  void choose(Format& format) override { format.trash_days = 1; }
};
ON_EVERY_ENGINE(RandomNamesWithTrash);

TEST_P(RandomNamesWithTrash, are_what_a_plain_tree_says) { run(true, 42); }

class ParallelNames : public Conformance {
 protected:
  void choose(Format& format) override { format.trash_days = 1; }
};
ON_EVERY_ENGINE(ParallelNames);

// Two clients of two threads each in three directories: whatever wins, every counter is right afterwards.
TEST_P(ParallelNames, leave_every_counter_right) {
  auto other = client();
  ASSERT_TRUE(other);
  const Ino a = mkdir(kRootIno, "a"), b = mkdir(kRootIno, "b"), c = mkdir(b, "c");
  const std::vector<Ino> dirs{a, b, c};
  const std::set<int> expected{0, ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL, EPERM};
  std::atomic<int> unexpected{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 4; i++) {
    threads.emplace_back([&, i] {
      Meta& meta = i % 2 ? *other : *meta_;
      std::minstd_rand random(i + 1);
      auto dir = [&] { return dirs[random() % dirs.size()]; };
      auto name = [&] { return std::string(1, static_cast<char>('p' + random() % 4)); };
      for (int step = 0; step < 120; step++) {
        int code = 0;
        switch (random() % 7) {
          case 0: code = code_of(meta.mkdir(root_, dir(), name(), 0755, 0)); break;
          case 1:
          case 2: code = code_of(meta.mknod(root_, dir(), name(), FileType::kFile, 0644, 0, 0)); break;
          case 3: code = code_of(meta.unlink(root_, dir(), name())); break;
          case 4: code = code_of(meta.rmdir(root_, dir(), name())); break;
          case 5: code = code_of(meta.rename(root_, dir(), name(), dir(), name(), (random() % 3) * 2)); break;
          default:
            if (auto found = meta.lookup(root_, dir(), name()); found && !found->attr.is_dir())
              code = code_of(meta.link(root_, found->ino, dir(), name()));
        }
        if (expected.contains(code)) continue;
        unexpected++;
        ADD_FAILURE() << "errno " << code;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(unexpected, 0);
  EXPECT_OK(other->close_session());
  verify();
}

// Two clients move directories into each other at the same time: never both.
TEST_P(ParallelNames, two_moves_never_make_a_cycle) {
  auto other = client();
  ASSERT_TRUE(other);
  for (int round = 0; round < 10; round++) {
    const std::string one = "one" + std::to_string(round), two = "two" + std::to_string(round);
    const Ino first = mkdir(kRootIno, one), second = mkdir(kRootIno, two);
    const Ino first_below = mkdir(first, "below"), second_below = mkdir(second, "below");
    int code = 0;
    std::thread thread([&] { code = code_of(other->rename(root_, kRootIno, one, second_below, "x", 0)); });
    const int mine = code_of(meta_->rename(root_, kRootIno, two, first_below, "x", 0));
    thread.join();
    EXPECT_TRUE((mine == 0) != (code == 0)) << mine << " and " << code;
    EXPECT_TRUE(mine == 0 || mine == EINVAL || mine == ENOENT) << mine;
    EXPECT_TRUE(code == 0 || code == EINVAL || code == ENOENT) << code;
  }
  EXPECT_OK(other->close_session());
}

}  // namespace
}  // namespace zest::conformance
