// A plain tree in memory that behaves as a volume must for the superuser: what random histories are compared with.
#pragma once

#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "meta/api.h"

namespace zest::conformance {

struct ModelNode {
  FileType type = FileType::kFile;
  Ino ino{0};
  uint32_t nlink = 1;
  uint64_t length = 0;
  std::string target;
  ModelNode* parent = nullptr;  // of a directory
  std::map<std::string, std::shared_ptr<ModelNode>> children;
  bool dead = false;  // of a directory: removed

  bool is_dir() const { return type == FileType::kDirectory; }
  ModelNode* child(const std::string& name) const {
    auto found = children.find(name);
    return found == children.end() ? nullptr : found->second.get();
  }
};

// Each call gives an errno, 0 for success, and changes the tree only then. Whose inode numbers are wanted sets `ino`
// of what it made.
class TreeModel {
 public:
  TreeModel() {
    root_->type = FileType::kDirectory;
    root_->ino = kRootIno;
    root_->nlink = 2;
  }
  ModelNode* root() { return root_.get(); }

  int make(ModelNode* dir, const std::string& name, FileType type, ModelNode** made) {
    if (dir->dead) return ENOENT;
    if (dir->child(name)) return EEXIST;
    auto node = std::make_shared<ModelNode>();
    node->type = type;
    if (node->is_dir()) {
      node->nlink = 2;
      node->parent = dir;
      dir->nlink++;
    }
    *made = node.get();
    dir->children[name] = std::move(node);
    return 0;
  }

  int unlink(ModelNode* dir, const std::string& name) {
    ModelNode* node = dir->child(name);
    if (!node) return ENOENT;
    if (node->is_dir()) return EPERM;
    node->nlink--;
    dir->children.erase(name);
    return 0;
  }

  int rmdir(ModelNode* dir, const std::string& name) {
    ModelNode* node = dir->child(name);
    if (!node) return ENOENT;
    if (!node->is_dir()) return ENOTDIR;
    if (!node->children.empty()) return ENOTEMPTY;
    bury(dir, name);
    return 0;
  }

  int link(ModelNode* file, ModelNode* dir, const std::string& name) {
    if (file->is_dir()) return EPERM;
    if (dir->dead) return ENOENT;
    if (dir->child(name)) return EEXIST;
    // The shared owner is found where the file already has a name.
    std::shared_ptr<ModelNode> shared = find(root_, file);
    if (!shared) return ENOENT;
    dir->children[name] = std::move(shared);
    file->nlink++;
    return 0;
  }

  // made: the whiteout, if one is asked for.
  int rename(ModelNode* from, const std::string& name, ModelNode* to, const std::string& new_name, uint32_t flags,
             ModelNode** made) {
    ModelNode *src = from->child(name), *dst = to->child(new_name);
    if (to->dead) return ENOENT;
    if (!src) return ENOENT;
    if (from == to && name == new_name) return 0;
    if (from != to && src->is_dir() && is_above(src, to)) return EINVAL;
    if (dst && (flags & meta::kRenameNoReplace)) return EEXIST;
    if (flags & meta::kRenameExchange) return do_exchange(from, name, to, new_name);
    if (dst) {
      if (src == dst) return 0;
      if (src->is_dir() && !dst->is_dir()) return ENOTDIR;
      if (!src->is_dir() && dst->is_dir()) return EISDIR;
      if (dst->is_dir() && !dst->children.empty()) return ENOTEMPTY;
      if (dst->is_dir()) {
        bury(to, new_name);
      } else {
        dst->nlink--;
      }
    }
    auto moved = from->children[name];
    from->children.erase(name);
    to->children[new_name] = moved;
    adopt(moved.get(), from, to);
    return flags & meta::kRenameWhiteout ? make(from, name, FileType::kChar, made) : 0;
  }

 private:
  int do_exchange(ModelNode* from, const std::string& name, ModelNode* to, const std::string& new_name) {
    ModelNode* dst = to->child(new_name);
    if (!dst) return ENOENT;
    if (from != to && dst->is_dir() && is_above(dst, from)) return EINVAL;
    auto &a = from->children[name], &b = to->children[new_name];
    std::swap(a, b);
    adopt(b.get(), from, to);
    adopt(a.get(), to, from);
    return 0;
  }
  static void adopt(ModelNode* node, ModelNode* from, ModelNode* to) {
    if (!node->is_dir()) return;
    node->parent = to;
    from->nlink--;
    to->nlink++;
  }
  static bool is_above(const ModelNode* above, const ModelNode* dir) {
    for (; dir; dir = dir->parent)
      if (dir == above) return true;
    return false;
  }
  // A removed directory stays reachable for calls on its inode.
  void bury(ModelNode* dir, const std::string& name) {
    auto node = dir->children[name];
    dir->children.erase(name);
    dir->nlink--;
    node->dead = true;
    node->parent = nullptr;
    graves_.push_back(std::move(node));
  }
  static std::shared_ptr<ModelNode> find(const std::shared_ptr<ModelNode>& below, const ModelNode* node) {
    for (const auto& [name, child] : below->children) {
      if (child.get() == node) return child;
      if (child->is_dir())
        if (auto found = find(child, node)) return found;
    }
    return nullptr;
  }

  std::shared_ptr<ModelNode> root_ = std::make_shared<ModelNode>();
  std::vector<std::shared_ptr<ModelNode>> graves_;
};

}  // namespace zest::conformance
