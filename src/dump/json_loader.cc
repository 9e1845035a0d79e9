// Loads a JSON dump as a stream of events: a node is written when its object ends, so that only the path from the root
// to it is in memory.
#include <fmt/format.h>
#include <rapidjson/error/en.h>
#include <rapidjson/reader.h>

#include <map>
#include <nlohmann/json.hpp>

#include "dump/batch.h"
#include "dump/dump.h"
#include "dump/escape.h"

namespace zest::dump {
namespace {

using Json = nlohmann::ordered_json;
using meta::Key;

// rapidjson's view of a Source.
class JsonInput {
 public:
  using Ch = char;
  explicit JsonInput(Source& source) : source_(source) { fill(); }
  Ch Peek() const { return at_ < size_ ? buffer_[at_] : '\0'; }
  Ch Take() {
    if (at_ >= size_) return '\0';
    char c = buffer_[at_++];
    offset_++;
    if (at_ == size_) fill();
    return c;
  }
  size_t Tell() const { return offset_; }
  Ch* PutBegin() { return nullptr; }
  void Put(Ch) {}
  void Flush() {}
  size_t PutEnd(Ch*) { return 0; }
  const std::optional<Error>& error() const { return error_; }

 private:
  void fill() {
    auto n = source_.read(buffer_, sizeof buffer_);
    at_ = 0;
    size_ = n ? *n : 0;
    if (!n) error_ = n.error();
  }
  Source& source_;
  char buffer_[64 * 1024];
  size_t at_ = 0, size_ = 0, offset_ = 0;
  std::optional<Error> error_;
};

FileType type_of(const std::string& name) {
  static const std::map<std::string, FileType> kTypes{
      {"regular", FileType::kFile}, {"directory", FileType::kDirectory}, {"symlink", FileType::kSymlink},
      {"fifo", FileType::kFifo},    {"blockdev", FileType::kBlock},      {"chardev", FileType::kChar},
      {"socket", FileType::kSocket}};
  auto found = kTypes.find(name);
  return found == kTypes.end() ? FileType{0} : found->second;
}

template <class T>
T number(const Json& object, const char* key) {
  auto it = object.find(key);
  return it != object.end() && it->is_number() ? it->get<T>() : T{};
}

std::string text(const Json& object, const char* key) {
  auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

class JsonLoader : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, JsonLoader> {
 public:
  JsonLoader(meta::Meta& meta, const LoadOptions& options)
      : meta_(meta), options_(options), batch_(meta.engine(), options.threads) {}

  // --- events of the parser; false stops it ---
  bool Null() { return value(nullptr); }
  bool Bool(bool b) { return value(b); }
  bool Int(int i) { return value(i); }
  bool Uint(unsigned u) { return value(u); }
  bool Int64(int64_t i) { return value(i); }
  bool Uint64(uint64_t u) { return value(u); }
  bool Double(double d) { return value(d); }
  bool String(const char* s, rapidjson::SizeType n, bool) { return value(std::string(s, n)); }
  bool Key(const char* s, rapidjson::SizeType n, bool) { return key(std::string(s, n)); }
  bool StartObject() { return open(Json::object()); }
  bool EndObject(rapidjson::SizeType) { return end(); }
  bool StartArray() { return open(Json::array()); }
  bool EndArray(rapidjson::SizeType) { return end(); }

  Result<void> finish();
  void settle() { (void)batch_.finish(); }  // before what was written is removed
  std::optional<Error> error;

 private:
  // Where the parser is: the whole, a node ("attr", "entries", ...) or the entries of a directory.
  struct Node {
    Ino ino{0};
    std::string name;
    bool has_attr = false, trash_tree = false;
    Attr attr;
    std::string symlink;
    Json xattrs, access, default_acl, chunks;
    uint32_t subdirs = 0;
    DirStat stat, below;  // of the direct children; of everything below
    bool in_entries = false;
  };

  bool value(Json v);
  bool open(Json container);
  bool end();
  bool key(std::string name);
  bool captured(Json v);  // a whole value of a member that is kept
  bool stop(int code, std::string what) {
    if (!error) error = Error{code, Fault::kPlain, std::move(what)};
    return false;
  }
  bool check(Result<void> result) {
    if (result) return true;
    if (!error) error = result.error();
    return false;
  }
  bool take_attr(const Json& v);
  Result<void> end_node();
  Result<Ino> first_parent(Ino ino);
  Result<void> write_node(Node& node, bool fresh);
  Result<void> write_chunks(const Node& node);
  Result<uint32_t> acl_id(const Json& rule);

  meta::Meta& meta_;
  const LoadOptions& options_;
  Batch batch_;
  bool started_ = false;
  std::string key_;             // the last key of the innermost node or of the whole
  std::vector<Node> path_;      // nodes that are open
  std::vector<Json> captures_;  // containers of the value being kept, outermost first
  std::vector<std::string> capture_keys_;
  Json setting_;
  std::map<uint64_t, Quota> quotas_;
  bool dir_stats_ = true;
  IdSet inodes_, slices_;
  std::map<uint64_t, std::map<uint64_t, int64_t>> links_;  // files met more than once: parent -> names
  std::map<uint64_t, uint64_t> first_parent_;              // of files that say they have several names
  std::map<std::string, uint32_t> acls_;
  int64_t used_space_ = 0, used_inodes_ = 0;
  uint64_t max_inode_ = 1, max_slice_ = 0, max_trash_ = 0;
};

bool JsonLoader::value(Json v) {
  if (options_.cancelled && *options_.cancelled) return stop(EINTR, "");
  if (captures_.empty()) return started_ ? captured(std::move(v)) : stop(EINVAL, "a dump begins with an object");
  auto& top = captures_.back();
  if (top.is_array())
    top.push_back(std::move(v));
  else
    top[capture_keys_.back()] = std::move(v);
  return true;
}

bool JsonLoader::open(Json container) {
  if (!started_) {
    started_ = true;
    return container.is_object() || stop(EINVAL, "a dump begins with an object");
  }
  if (captures_.empty() && container.is_object()) {
    if (path_.empty() && (key_ == "FSTree" || key_ == "Trash")) {
      Node node;
      node.trash_tree = key_ == "Trash";
      path_.push_back(std::move(node));
      return true;
    }
    if (!path_.empty() && path_.back().in_entries) {
      Node node;
      node.name = unescape(key_);
      node.trash_tree = path_.back().trash_tree;
      path_.push_back(std::move(node));
      return true;
    }
    if (!path_.empty() && key_ == "entries") {
      if (!path_.back().has_attr) return stop(EINVAL, "entries before the attributes of their directory");
      path_.back().in_entries = true;
      return true;
    }
  }
  if (captures_.size() > 64) return stop(EINVAL, "nested too deep");
  captures_.push_back(std::move(container));
  capture_keys_.emplace_back();
  return true;
}

bool JsonLoader::end() {
  if (!captures_.empty()) {
    Json whole = std::move(captures_.back());
    captures_.pop_back();
    capture_keys_.pop_back();
    return value(std::move(whole));
  }
  if (path_.empty()) return true;  // the whole
  if (path_.back().in_entries) {
    path_.back().in_entries = false;
    return true;
  }
  return check(end_node());
}

bool JsonLoader::key(std::string name) {
  if (captures_.empty())
    key_ = std::move(name);
  else
    capture_keys_.back() = std::move(name);
  return true;
}

bool JsonLoader::captured(Json v) {
  if (path_.empty()) {
    if (key_ == "Setting") {
      setting_ = std::move(v);
      const auto found = setting_.is_object() ? setting_.find("DirStats") : setting_.end();
      dir_stats_ = found != setting_.end() && found->is_boolean() && found->get<bool>();
    } else if (key_ == "Quotas" && v.is_object()) {
      for (auto& [ino, limits] : v.items())
        quotas_[strtoull(ino.c_str(), nullptr, 10)] = {number<int64_t>(limits, "maxSpace"),
                                                       number<int64_t>(limits, "maxInodes"), 0, 0};
    } else if (key_ == "DelFiles" && v.is_array()) {
      for (auto& file : v)
        if (!check(batch_.put(Key::del_file(Ino{number<uint64_t>(file, "inode")}, number<uint64_t>(file, "length")),
                              number<int64_t>(file, "expire"))))
          return false;
    }
    return true;
  }
  auto& node = path_.back();
  if (key_ == "attr") return take_attr(v);
  if (key_ == "symlink" && v.is_string())
    node.symlink = unescape(v.get<std::string>());
  else if (key_ == "xattrs")
    node.xattrs = std::move(v);
  else if (key_ == "chunks")
    node.chunks = std::move(v);
  else if (key_ == "posix_acl_access")
    node.access = std::move(v);
  else if (key_ == "posix_acl_default")
    node.default_acl = std::move(v);
  return true;
}

bool JsonLoader::take_attr(const Json& v) {
  if (!v.is_object()) return stop(EINVAL, "attr is no object");
  auto& node = path_.back();
  auto& a = node.attr;
  a.type = type_of(text(v, "type"));
  if (a.type == FileType{0}) return stop(EINVAL, fmt::format("unknown type \"{}\"", text(v, "type")));
  auto ino = number<uint64_t>(v, "inode");
  if (path_.size() == 1) ino = node.trash_tree ? raw(kTrashIno) : raw(kRootIno);
  if (ino == 0) return stop(EINVAL, "an entry without inode");
  node.ino = Ino{ino};
  a.flags = number<uint8_t>(v, "flags");
  a.mode = number<uint16_t>(v, "mode") & 07777;
  a.uid = number<uint32_t>(v, "uid");
  a.gid = number<uint32_t>(v, "gid");
  a.atime = {number<int64_t>(v, "atime"), number<uint32_t>(v, "atimensec")};
  a.mtime = {number<int64_t>(v, "mtime"), number<uint32_t>(v, "mtimensec")};
  a.ctime = {number<int64_t>(v, "ctime"), number<uint32_t>(v, "ctimensec")};
  a.nlink = number<uint32_t>(v, "nlink");
  a.length = number<uint64_t>(v, "length");
  a.rdev = number<uint32_t>(v, "rdev");
  a.tier = number<uint8_t>(v, "tier");
  node.has_attr = true;
  return true;
}

Result<uint32_t> JsonLoader::acl_id(const Json& json) {
  if (!json.is_object()) return 0;
  AclRule rule{number<uint16_t>(json, "owner"),
               number<uint16_t>(json, "group"),
               number<uint16_t>(json, "mask"),
               number<uint16_t>(json, "other"),
               {},
               {}};
  for (auto [key, list] : {std::pair{"users", &rule.users}, {"groups", &rule.groups}})
    if (auto it = json.find(key); it != json.end() && it->is_array())
      for (auto& one : *it) list->push_back({number<uint32_t>(one, "id"), number<uint16_t>(one, "perm")});
  auto encoded = encode_acl(rule);
  auto [known, fresh] = acls_.emplace(encoded, static_cast<uint32_t>(acls_.size() + 1));
  if (fresh) ZEST_TRY(batch_.put(Key::acl(known->second), rule));
  return known->second;
}

// Where the first name of a file was; the file said that it had one name only, so it was not kept.
Result<Ino> JsonLoader::first_parent(Ino ino) {
  if (auto known = first_parent_.find(raw(ino)); known != first_parent_.end()) return Ino{known->second};
  ZEST_TRY(batch_.finish());
  std::optional<Attr> attr;
  ZEST_TRY(meta::read(meta_.engine(), system_clock(), [&](meta::Txn& txn) -> Result<void> {
    ZEST_ASSIGN(attr, txn.attr(ino));
    return {};
  }));
  return attr ? attr->parent : kRootIno;
}

Result<void> JsonLoader::end_node() {
  Node node = std::move(path_.back());
  path_.pop_back();
  bool top = path_.empty();
  if (!node.has_attr) return fail(EINVAL, fmt::format("the entry \"{}\" has no attributes", node.name));
  // a volume without trash is dumped with a trash of zeroes
  if (top && node.trash_tree && node.attr.mode == 0 && node.stat.inodes == 0) return {};
  node.attr.parent = top ? kRootIno : path_.back().ino;
  bool fresh = inodes_.insert(raw(node.ino));
  if (node.attr.is_dir() && !fresh)
    return fail(EINVAL, fmt::format("the directory {} has several names", raw(node.ino)));
  if (!top && !fresh) {
    auto& parents = links_[raw(node.ino)];
    if (parents.empty()) {
      ZEST_ASSIGN(auto first, first_parent(node.ino));
      parents[raw(first)]++;
    }
    parents[raw(path_.back().ino)]++;
  } else if (!top && !node.attr.is_dir() && node.attr.nlink > 1) {
    first_parent_[raw(node.ino)] = raw(node.attr.parent);
  }
  if (node.attr.is_file() && node.attr.length >= kMaxFileSize)
    return fail(EINVAL, fmt::format("inode {}: no file has {} bytes", raw(node.ino), node.attr.length));
  ZEST_TRY(write_node(node, fresh));
  if (options_.progress) (*options_.progress)++;
  if (top) return {};
  auto& parent = path_.back();
  if (int bad = check_name(node.name); bad)
    return fail(EINVAL, fmt::format("the name \"{}\" is not allowed", escape(node.name)));
  ZEST_TRY(batch_.put(Key::entry(parent.ino, node.name), Entry{node.attr.type, node.ino}));
  DirStat own{static_cast<int64_t>(node.attr.data_length()), node.attr.space(), 1};
  parent.stat += own;
  parent.below += own;
  parent.below += node.below;
  if (node.attr.is_dir()) parent.subdirs++;
  return {};
}

Result<void> JsonLoader::write_node(Node& node, bool fresh) {
  if (!fresh) return {};  // another name of a file that is written already
  auto& a = node.attr;
  if (a.is_dir()) {
    a.nlink = 2 + (node.ino == kTrashIno ? 0 : node.subdirs);
    a.length = 4096;
    if (dir_stats_) ZEST_TRY(batch_.put(Key::dir_stat(node.ino), node.stat));
    if (auto quota = quotas_.find(raw(node.ino)); quota != quotas_.end()) {
      quota->second.used_space = node.below.space;
      quota->second.used_inodes = node.below.inodes;
      ZEST_TRY(batch_.put(Key::dir_quota(node.ino), quota->second));
    }
  } else {
    a.nlink = 1;
    if (a.type == FileType::kSymlink) {
      a.length = node.symlink.size();
      ZEST_TRY(batch_.put(Key::symlink(node.ino), node.symlink));
    }
    if (a.is_file()) ZEST_TRY(write_chunks(node));
  }
  ZEST_ASSIGN(a.access_acl, acl_id(node.access));
  ZEST_ASSIGN(a.default_acl, acl_id(node.default_acl));
  ZEST_TRY(batch_.put(Key::inode(node.ino), a));
  if (node.xattrs.is_array())
    for (auto& one : node.xattrs)
      ZEST_TRY(batch_.put(Key::xattr(node.ino, text(one, "name")), unescape(text(one, "value"))));
  if (node.ino == kRootIno || node.ino == kTrashIno) return {};
  if (is_trash(node.ino))
    max_trash_ = std::max(max_trash_, raw(node.ino) - raw(kTrashIno));
  else
    max_inode_ = std::max(max_inode_, raw(node.ino));
  used_space_ += a.space();
  used_inodes_++;
  return {};
}

Result<void> JsonLoader::write_chunks(const Node& node) {
  if (!node.chunks.is_array()) return {};
  for (auto& chunk : node.chunks) {
    std::string records;
    auto slices = chunk.find("slices");
    if (slices == chunk.end() || !slices->is_array()) continue;
    for (auto& one : *slices) {
      uint64_t id = one.contains("id") ? number<uint64_t>(one, "id") : number<uint64_t>(one, "chunkid");
      Slice slice{number<uint32_t>(one, "pos"), SliceId{id}, number<uint32_t>(one, "size"),
                  number<uint32_t>(one, "off"), number<uint32_t>(one, "len")};
      encode_slice(records, slice);
      if (id == 0) continue;
      max_slice_ = std::max(max_slice_, id);
      if (slices_.insert(id))
        ZEST_TRY(batch_.new_slice(slice.id, slice.size));
      else
        ZEST_TRY(batch_.add_ref(slice.id, slice.size, 1));
    }
    if (!records.empty()) ZEST_TRY(batch_.append(node.ino, number<uint32_t>(chunk, "index"), std::move(records)));
  }
  return {};
}

Result<void> JsonLoader::finish() {
  if (!setting_.is_object()) return fail(EINVAL, "the dump has no settings");
  if (inodes_.insert(raw(kRootIno))) return fail(EINVAL, "the dump has no tree");
  ZEST_TRY(batch_.finish());
  for (auto& [ino, parents] : links_) {
    std::optional<Attr> attr;
    ZEST_TRY(meta::read(meta_.engine(), system_clock(), [&](meta::Txn& txn) -> Result<void> {
      ZEST_ASSIGN(attr, txn.attr(Ino{ino}));
      return {};
    }));
    if (!attr) continue;
    attr->nlink = 0;
    attr->parent = Ino{0};
    for (auto& [parent, names] : parents) {
      attr->nlink += static_cast<uint32_t>(names);
      ZEST_TRY(batch_.add_links(Ino{ino}, Ino{parent}, names));
    }
    ZEST_TRY(batch_.put(Key::inode(Ino{ino}), *attr));
  }
  namespace c = meta::counter;
  for (auto [name, number] : {std::pair{c::kUsedSpace, used_space_},
                              {c::kTotalInodes, used_inodes_},
                              {c::kNextInode, static_cast<int64_t>(max_inode_ + 1)},
                              {c::kNextChunk, static_cast<int64_t>(max_slice_ + 1)},
                              {c::kNextSession, int64_t{0}},
                              {c::kNextTrash, static_cast<int64_t>(max_trash_)},
                              {c::kAclMaxId, static_cast<int64_t>(acls_.size())}})
    ZEST_TRY(batch_.put(Key::counter(name), number));
  // the settings last: until they are there, there is no volume
  ZEST_TRY(batch_.finish());
  ZEST_TRY(batch_.put(Key::setting(), setting_.dump(0, ' ', false, Json::error_handler_t::replace)));
  return batch_.finish();
}

}  // namespace

Result<void> load_json(meta::Meta& meta, const LoadOptions& options, Source& in) {
  ZEST_TRY(prepare_target(meta));
  JsonLoader loader(meta, options);
  auto loaded = [&]() -> Result<void> {
    JsonInput input(in);
    rapidjson::Reader reader;
    auto parsed = reader.Parse<rapidjson::kParseIterativeFlag>(input, loader);
    if (input.error()) return fail(*input.error());
    if (loader.error)
      return fail(loader.error->code, fmt::format("at byte {}: {}", parsed.Offset(), loader.error->what));
    if (parsed.IsError())
      return fail(EINVAL, fmt::format("at byte {}: {}", parsed.Offset(), rapidjson::GetParseError_En(parsed.Code())));
    return loader.finish();
  }();
  if (!loaded) loader.settle();
  if (!loaded)
    if (auto undone = meta.engine().reset(); !undone)
      return fail(loaded.error().code,
                  loaded.error().what + "; what was written could not be removed: " + undone.error().message());
  return loaded;
}

}  // namespace zest::dump
