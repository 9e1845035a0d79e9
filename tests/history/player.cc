#include "player.h"

#include <algorithm>
#include <functional>

namespace zest::history {

using namespace meta;

namespace {
constexpr uint64_t kWindow = 24 << 10;  // bytes at the start of the file, and around the border of its first two chunks
}

Player::Player(uint64_t seed, std::vector<Client*> clients, Ino top, uint16_t mode)
    : random_(seed),
      clients_(std::move(clients)),
      model_(top, mode),
      trash_(clients_.front()->state().trash_days > 0) {}

Player::~Player() { close_all(); }

void Player::close_all() {
  for (auto& handle : open_) EXPECT_OK((*handle.client)->close(handle.node->ino));
  open_.clear();
}

Node& Player::some_dir() {
  Node* dir = model_.top().get();
  for (;;) {
    std::vector<Node*> dirs;
    for (auto& [name, child] : dir->children)
      if (child->is_dir()) dirs.push_back(child.get());
    if (dirs.empty() || below(3) == 0) return *dir;
    dir = dirs[below(dirs.size())];
  }
}

NodePtr Player::some_file() {
  if (!open_.empty() && below(4) == 0) return open_[below(open_.size())].node;
  Node& dir = some_dir();
  std::vector<NodePtr> files;
  for (auto& [name, child] : dir.children)
    if (child->type == FileType::kFile) files.push_back(child);
  return files.empty() ? nullptr : files[below(files.size())];
}

uint64_t Player::some_offset() {
  uint64_t offset = below(kWindow);
  return below(4) == 0 ? kChunkSize - kWindow / 2 + offset : offset;
}

std::string Player::some_bytes() {
  static const size_t sizes[] = {1, 100, 4096, 5000, 9000};
  return std::string(1 + below(sizes[below(std::size(sizes))]), static_cast<char>('a' + below(26)));
}

// A file without names is gone unless the client that took the last one has it open.
void Player::forget_if_gone(const NodePtr& node, Client& by) {
  if (!node || node->names > 0) return;
  bool kept = std::ranges::any_of(open_, [&](auto& h) { return h.node == node && h.client == &by; });
  std::erase_if(open_, [&](auto& handle) {
    bool lost = handle.node == node && (!kept || handle.client != &by);
    if (lost) EXPECT_OK((*handle.client)->close(node->ino));
    return lost;
  });
}

void Player::make() {
  Client& client = some_client();
  Node& dir = some_dir();
  std::string name = some_name();
  static const FileType types[] = {FileType::kFile, FileType::kFile, FileType::kDirectory, FileType::kSymlink};
  FileType type = types[below(std::size(types))];
  uint16_t mode = type == FileType::kSymlink ? 0777 : static_cast<uint16_t>(below(01000));
  NodePtr made;
  int expected = model_.make(dir, name, type, mode, made);
  std::string target = "to/" + name;
  Result<EntryAttr> got = type == FileType::kDirectory ? client->mkdir(root_, dir.ino, name, mode, 0)
                          : type == FileType::kSymlink
                              ? client->symlink(root_, dir.ino, name, target)
                              : client->mknod(root_, dir.ino, name, FileType::kFile, mode, 0, 0);
  ASSERT_EQ(code_of(got), expected) << "make " << name << " in " << raw(dir.ino);
  if (expected != 0) return;
  made->ino = got->ino;
  if (type == FileType::kSymlink) made->target = target;
}

void Player::unlink() {
  Client& client = some_client();
  Node& dir = some_dir();
  std::string name = some_name();
  NodePtr gone;
  int expected = model_.unlink(dir, name, gone);
  EXPECT_ERR(client->unlink(root_, dir.ino, name), expected);
  forget_if_gone(gone, client);
}

void Player::rmdir() {
  Client& client = some_client();
  Node& dir = some_dir();
  std::string name = some_name();
  int expected = model_.rmdir(dir, name);
  EXPECT_ERR(client->rmdir(root_, dir.ino, name), expected);
}

void Player::rename() {
  Client& client = some_client();
  Node &from = some_dir(), &to = below(2) ? from : some_dir();
  std::string old_name = some_name(), new_name = some_name();
  static const uint32_t all_flags[] = {0, 0, kRenameNoReplace, kRenameExchange};
  uint32_t flags = all_flags[below(std::size(all_flags))];
  NodePtr replaced;
  bool loop;
  int expected = model_.rename(from, old_name, to, new_name, flags, replaced, loop);
  auto got = client->rename(root_, from.ino, old_name, to.ino, new_name, flags);
  if (loop) {
    EXPECT_NE(code_of(got), 0) << "a loop was made";
  } else {
    EXPECT_EQ(code_of(got), expected) << "rename " << raw(from.ino) << "/" << old_name << " " << raw(to.ino) << "/"
                                      << new_name << " flags " << flags;
  }
  forget_if_gone(replaced, client);
}

void Player::link() {
  Client& client = some_client();
  NodePtr file = some_file();
  if (!file || file->names == 0) return;
  Node& dir = some_dir();
  std::string name = some_name();
  int expected = model_.link(file, dir, name);
  EXPECT_ERR(client->link(root_, file->ino, dir.ino, name), expected);
}

void Player::write() {
  Client& client = some_client();
  NodePtr file = some_file();
  if (!file) return;
  uint64_t offset = some_offset();
  std::string bytes = some_bytes();
  auto attr = client.put(file->ino, offset, bytes);
  ASSERT_OK(attr);
  file->content.write(offset, bytes);
  EXPECT_EQ(attr->length, file->content.length());
}

void Player::truncate() {
  Client& client = some_client();
  NodePtr file = some_file();
  if (!file) return;
  uint64_t length = below(5) == 0 ? 0 : some_offset();
  auto attr = client->truncate(root_, file->ino, length, true);
  ASSERT_OK(attr);
  file->content.truncate(length);
}

void Player::punch() {
  Client& client = some_client();
  NodePtr file = some_file();
  if (!file) return;
  static const uint32_t modes[] = {0, kFallocKeepSize, kFallocPunchHole | kFallocKeepSize, kFallocZeroRange};
  uint32_t mode = modes[below(std::size(modes))];
  uint64_t offset = some_offset(), size = 1 + below(kWindow);
  ASSERT_OK(client->fallocate(root_, file->ino, mode, offset, size));
  if (mode & (kFallocPunchHole | kFallocZeroRange)) file->content.zero(offset, size);
  if (!(mode & kFallocKeepSize)) file->content.grow(offset + size);
}

void Player::copy() {
  Client& client = some_client();
  NodePtr in = some_file(), out = some_file();
  if (!in || !out) return;
  uint64_t off_in = some_offset(), off_out = some_offset(), size = 1 + below(kWindow);
  if (in == out && off_in < off_out + size && off_out < off_in + size) return;
  auto copied = client->copy_file_range(root_, in->ino, off_in, out->ino, off_out, size);
  ASSERT_OK(copied);
  std::string bytes = in->content.read(off_in, size);
  EXPECT_EQ(copied->bytes, bytes.size());
  if (!bytes.empty()) out->content.write(off_out, bytes);
}

void Player::xattr() {
  Client& client = some_client();
  NodePtr file = some_file();
  if (!file || file->names == 0) return;
  std::string name = "user." + some_name();
  if (below(3) == 0) {
    EXPECT_ERR(client->removexattr(root_, file->ino, name), file->xattrs.erase(name) ? 0 : ENODATA);
    return;
  }
  std::string value(below(50), 'v');
  EXPECT_OK(client->setxattr(root_, file->ino, name, value, 0));
  file->xattrs[name] = value;
}

void Player::chmod() {
  Client& client = some_client();
  NodePtr file = some_file();
  if (!file || file->names == 0) return;
  Attr attr;
  attr.mode = static_cast<uint16_t>(below(01000));
  auto got = client->setattr(root_, file->ino, kSetMode, attr);
  ASSERT_OK(got);
  file->mode = attr.mode;
}

void Player::check_file(Client& client, const Node& node) {
  auto attr = client->getattr(root_, node.ino);
  ASSERT_OK(attr);
  // Names in the trash count as well.
  bool right = trash_ ? attr->nlink >= node.nlink() : attr->nlink == node.nlink();
  EXPECT_TRUE(right) << "inode " << raw(node.ino) << " has nlink " << attr->nlink << ", not " << node.nlink();
  EXPECT_EQ(attr->mode, node.mode);
  if (node.type == FileType::kSymlink) {
    EXPECT_EQ(client->readlink(root_, node.ino).value_or("-"), node.target);
    return;
  }
  EXPECT_EQ(attr->length, node.content.length());
  for (uint64_t from : {uint64_t{0}, kChunkSize - kWindow / 2})
    ASSERT_EQ(client.get(node.ino, from, 3 * kWindow), node.content.read(from, 3 * kWindow))
        << "inode " << raw(node.ino);
  std::map<std::string, std::string> xattrs;
  auto names = client->listxattr(root_, node.ino);
  ASSERT_OK(names);
  for (auto& name : *names) xattrs[name] = client->getxattr(root_, node.ino, name).value_or("-");
  EXPECT_EQ(xattrs, node.xattrs);
}

void Player::check_dir(Client& client, const Node& node) {
  auto attr = client->getattr(root_, node.ino);
  ASSERT_OK(attr);
  EXPECT_EQ(attr->nlink, node.nlink()) << "directory " << raw(node.ino);
  auto listed = client->readdir(root_, node.ino, true);
  ASSERT_OK(listed);
  std::map<std::string, Ino> got, expected;
  for (auto& entry : *listed) got[entry.name] = entry.entry.ino;
  for (auto& [name, child] : node.children) expected[name] = child->ino;
  EXPECT_EQ(got, expected) << "directory " << raw(node.ino);
}

void Player::look() {
  Client& client = some_client();
  if (NodePtr file = some_file(); file && below(2)) {
    check_file(client, *file);
    return;
  }
  Node& dir = some_dir();
  check_dir(client, dir);
  std::string name = some_name();
  auto found = client->lookup(root_, dir.ino, name);
  auto it = dir.children.find(name);
  ASSERT_EQ(code_of(found), it == dir.children.end() ? ENOENT : 0);
  if (found) {
    EXPECT_EQ(found->ino, it->second->ino);
  }
}

void Player::open_or_close() {
  if (open_.size() > 4 || (!open_.empty() && below(2))) {
    size_t which = below(open_.size());
    Handle handle = open_[which];
    open_.erase(open_.begin() + static_cast<ptrdiff_t>(which));
    EXPECT_OK((*handle.client)->close(handle.node->ino));
    return;
  }
  Client& client = some_client();
  NodePtr file = some_file();
  if (!file || file->names == 0) return;
  EXPECT_OK(client->open(root_, file->ino, O_RDWR));
  open_.push_back({file, &client});
}

void Player::step() {
  struct Move {
    int weight;
    void (Player::*play)();
  };
  static const Move moves[] = {{18, &Player::make},        {8, &Player::unlink}, {5, &Player::rmdir},
                               {10, &Player::rename},      {6, &Player::link},   {20, &Player::write},
                               {6, &Player::truncate},     {5, &Player::punch},  {5, &Player::copy},
                               {4, &Player::xattr},        {2, &Player::chmod},  {10, &Player::look},
                               {6, &Player::open_or_close}};
  int total = 0;
  for (auto& move : moves) total += move.weight;
  auto pick = static_cast<int>(below(static_cast<uint64_t>(total)));
  for (auto& move : moves) {
    pick -= move.weight;
    if (pick >= 0) continue;
    (this->*move.play)();
    return;
  }
}

void Player::compare() {
  std::function<void(const Node&)> walk = [&](const Node& dir) {
    check_dir(some_client(), dir);
    for (auto& [name, child] : dir.children) {
      if (child->is_dir())
        walk(*child);
      else
        check_file(some_client(), *child);
    }
  };
  walk(*model_.top());
}

}  // namespace zest::history
