// A file system as plain data: what a history of operations must have made of a tree, and which error each gives.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "volume/types.h"

namespace zest::history {

// A file's bytes, sparse.
class Content {
 public:
  uint64_t length() const { return length_; }
  void write(uint64_t offset, std::string_view bytes);
  void zero(uint64_t offset, uint64_t size);  // within the length
  void truncate(uint64_t length);
  void grow(uint64_t length) { length_ = std::max(length_, length); }
  std::string read(uint64_t offset, uint64_t size) const;  // cut at the length

 private:
  static constexpr uint64_t kPage = 4096;
  std::map<uint64_t, std::array<char, kPage>> pages_;
  uint64_t length_ = 0;
};

struct Node {
  FileType type = FileType::kFile;
  Ino ino{0};
  uint16_t mode = 0;
  int names = 0;  // links of a file
  Content content;
  std::string target;
  std::map<std::string, std::string> xattrs;
  std::map<std::string, std::shared_ptr<Node>> children;
  Node* parent = nullptr;  // of a directory

  bool is_dir() const { return type == FileType::kDirectory; }
  uint32_t nlink() const;
};
using NodePtr = std::shared_ptr<Node>;

// Each gives 0 or the errno that the operation must give; on 0 the tree has changed. New nodes get their inode number
// from the caller afterwards.
class Model {
 public:
  Model(Ino top, uint16_t mode);
  NodePtr top() const { return top_; }
  int make(Node& dir, const std::string& name, FileType type, uint16_t mode, NodePtr& made);
  int unlink(Node& dir, const std::string& name, NodePtr& gone);
  int rmdir(Node& dir, const std::string& name);
  int link(const NodePtr& node, Node& dir, const std::string& name);
  // kRenameNoReplace and kRenameExchange as flags. `replaced`: a file that lost a name. loop: any error will do.
  int rename(Node& from, const std::string& old_name, Node& to, const std::string& new_name, uint32_t flags,
             NodePtr& replaced, bool& loop);

 private:
  static bool below(const Node* node, const Node* ancestor);
  NodePtr top_;
};

}  // namespace zest::history
