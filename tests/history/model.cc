#include "model.h"

#include <algorithm>
#include <cerrno>

#include "meta/api.h"

namespace zest::history {

void Content::write(uint64_t offset, std::string_view bytes) {
  for (size_t i = 0; i < bytes.size();) {
    uint64_t at = offset + i, in_page = at % kPage;
    size_t part = std::min<size_t>(kPage - in_page, bytes.size() - i);
    auto [page, made] = pages_.try_emplace(at / kPage);
    if (made) page->second.fill('\0');
    std::copy_n(bytes.data() + i, part, page->second.begin() + static_cast<ptrdiff_t>(in_page));
    i += part;
  }
  length_ = std::max(length_, offset + bytes.size());
}

void Content::zero(uint64_t offset, uint64_t size) {
  if (offset >= length_) return;
  uint64_t end = offset + std::min(size, length_ - offset);
  for (auto it = pages_.lower_bound(offset / kPage); it != pages_.end() && it->first * kPage < end; ++it) {
    uint64_t base = it->first * kPage;
    uint64_t from = std::max(offset, base) - base, to = std::min(end, base + kPage) - base;
    std::fill(it->second.begin() + static_cast<ptrdiff_t>(from), it->second.begin() + static_cast<ptrdiff_t>(to), '\0');
  }
}

void Content::truncate(uint64_t length) {
  if (length < length_) zero(length, length_ - length);
  length_ = length;
}

std::string Content::read(uint64_t offset, uint64_t size) const {
  if (offset >= length_) return "";
  std::string out(std::min(size, length_ - offset), '\0');
  for (auto it = pages_.lower_bound(offset / kPage); it != pages_.end() && it->first * kPage < offset + out.size();
       ++it) {
    uint64_t base = it->first * kPage;
    uint64_t from = std::max(offset, base), to = std::min(offset + out.size(), base + kPage);
    std::copy(it->second.begin() + static_cast<ptrdiff_t>(from - base),
              it->second.begin() + static_cast<ptrdiff_t>(to - base),
              out.begin() + static_cast<ptrdiff_t>(from - offset));
  }
  return out;
}

uint32_t Node::nlink() const {
  if (!is_dir()) return static_cast<uint32_t>(names);
  auto dirs = std::count_if(children.begin(), children.end(), [](auto& child) { return child.second->is_dir(); });
  return static_cast<uint32_t>(2 + dirs);
}

Model::Model(Ino top, uint16_t mode) : top_(std::make_shared<Node>()) {
  top_->type = FileType::kDirectory;
  top_->ino = top;
  top_->mode = mode;
}

bool Model::below(const Node* node, const Node* ancestor) {
  for (; node; node = node->parent)
    if (node == ancestor) return true;
  return false;
}

int Model::make(Node& dir, const std::string& name, FileType type, uint16_t mode, NodePtr& made) {
  if (dir.children.contains(name)) return EEXIST;
  made = std::make_shared<Node>();
  made->type = type;
  made->mode = mode;
  made->names = 1;
  if (type == FileType::kDirectory) made->parent = &dir;
  dir.children[name] = made;
  return 0;
}

int Model::unlink(Node& dir, const std::string& name, NodePtr& gone) {
  auto it = dir.children.find(name);
  if (it == dir.children.end()) return ENOENT;
  if (it->second->is_dir()) return EPERM;
  gone = it->second;
  gone->names--;
  dir.children.erase(it);
  return 0;
}

int Model::rmdir(Node& dir, const std::string& name) {
  auto it = dir.children.find(name);
  if (it == dir.children.end()) return ENOENT;
  if (!it->second->is_dir()) return ENOTDIR;
  if (!it->second->children.empty()) return ENOTEMPTY;
  dir.children.erase(it);
  return 0;
}

int Model::link(const NodePtr& node, Node& dir, const std::string& name) {
  if (node->is_dir()) return EPERM;
  if (dir.children.contains(name)) return EEXIST;
  dir.children[name] = node;
  node->names++;
  return 0;
}

int Model::rename(Node& from, const std::string& old_name, Node& to, const std::string& new_name, uint32_t flags,
                  NodePtr& replaced, bool& loop) {
  loop = false;
  auto src = from.children.find(old_name);
  if (src == from.children.end()) return ENOENT;
  if (&from == &to && old_name == new_name) return 0;
  NodePtr node = src->second;
  auto dst = to.children.find(new_name);
  NodePtr target = dst == to.children.end() ? nullptr : dst->second;
  bool exchange = flags == meta::kRenameExchange;
  loop = (node->is_dir() && below(&to, node.get())) ||
         (exchange && target && target->is_dir() && below(&from, target.get()));
  if (loop) return EINVAL;
  if (target && flags == meta::kRenameNoReplace) return EEXIST;
  if (exchange && !target) return ENOENT;
  if (!exchange && target) {
    if (target == node) return 0;
    if (node->is_dir() && !target->is_dir()) return ENOTDIR;
    if (!node->is_dir() && target->is_dir()) return EISDIR;
    if (!target->children.empty()) return ENOTEMPTY;
    if (!target->is_dir()) {
      replaced = target;
      target->names--;
    }
  }
  if (exchange)
    from.children[old_name] = target;
  else
    from.children.erase(src);
  to.children[new_name] = node;
  if (node->is_dir()) node->parent = &to;
  if (exchange && target->is_dir()) target->parent = &from;
  return 0;
}

}  // namespace zest::history
