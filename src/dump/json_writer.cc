// Writes the JSON dump, depth first. What one directory needs (attributes, chunks, symlinks, xattrs of its entries) is
// read a page of entries at a time, each page in one round trip or two.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/threads.h"
#include "dump/dump.h"
#include "dump/escape.h"

namespace zest::dump {
namespace {

using Json = nlohmann::ordered_json;
using meta::Key;
using meta::Table;

constexpr size_t kPage = 512;

const char* type_name(FileType type) {
  switch (type) {
    case FileType::kFile: return "regular";
    case FileType::kDirectory: return "directory";
    case FileType::kSymlink: return "symlink";
    case FileType::kFifo: return "fifo";
    case FileType::kBlock: return "blockdev";
    case FileType::kChar: return "chardev";
    case FileType::kSocket: return "socket";
  }
  return "regular";
}

std::string attr_json(Ino ino, const Attr& a) {
  auto out = fmt::format("{{\"inode\":{}", raw(ino));
  if (a.flags) out += fmt::format(",\"flags\":{}", a.flags);
  out += fmt::format(",\"type\":\"{}\",\"mode\":{},\"uid\":{},\"gid\":{},\"atime\":{},\"mtime\":{},\"ctime\":{}",
                     type_name(a.type), a.mode, a.uid, a.gid, a.atime.sec, a.mtime.sec, a.ctime.sec);
  if (a.atime.nsec) out += fmt::format(",\"atimensec\":{}", a.atime.nsec);
  if (a.mtime.nsec) out += fmt::format(",\"mtimensec\":{}", a.mtime.nsec);
  if (a.ctime.nsec) out += fmt::format(",\"ctimensec\":{}", a.ctime.nsec);
  out += fmt::format(",\"nlink\":{},\"length\":{}", a.nlink, a.is_file() ? a.length : 0);
  if (a.rdev) out += fmt::format(",\"rdev\":{}", a.rdev);
  if (a.tier) out += fmt::format(",\"tier\":{}", a.tier);
  return out + "}";
}

std::string acl_json(const AclRule& rule) {
  auto named = [](const std::vector<AclRule::Named>& list) -> std::string {
    if (list.empty()) return "null";
    std::string out = "[";
    for (auto& one : list)
      out += fmt::format("{}{{\"id\":{},\"perm\":{}}}", out.size() > 1 ? "," : "", one.id, one.perm);
    return out + "]";
  };
  return fmt::format("{{\"owner\":{},\"group\":{},\"other\":{},\"mask\":{},\"users\":{},\"groups\":{}}}", rule.owner,
                     rule.group, rule.other, rule.mask, named(rule.users), named(rule.groups));
}

std::string chunk_json(ChunkIndex index, const std::vector<Slice>& slices) {
  auto out = fmt::format("{{\"index\":{},\"slices\":[", index);
  for (size_t i = 0; i < slices.size(); i++) {
    auto& s = slices[i];
    out += fmt::format("{}{{\"id\":{}", i ? "," : "", raw(s.id));
    if (s.pos) out += fmt::format(",\"pos\":{}", s.pos);
    out += fmt::format(",\"size\":{}", s.size);
    if (s.off) out += fmt::format(",\"off\":{}", s.off);
    out += fmt::format(",\"len\":{}}}", s.len);
  }
  return out + "]}";
}

class JsonWriter {
 public:
  JsonWriter(meta::Meta& meta, const DumpOptions& options, Sink& out) : meta_(meta), options_(options), out_(out) {
    if (options.threads > 1) ahead_.emplace("dump", std::min<size_t>(static_cast<size_t>(options.threads), 64), 10'000);
  }
  Result<void> write();

 private:
  Result<void> write_head();
  Result<void> write_tree(const char* key, Ino ino);
  // What an entry holds besides its own directory entries.
  struct Node {
    Attr attr;
    std::string symlink;
    meta::XattrMap xattrs;
    std::map<ChunkIndex, std::vector<Slice>> chunks;
  };
  struct Child {
    std::string name;
    Ino ino;
    FileType type;
  };
  using Nodes = std::vector<Node>;
  // A directory's entries in order, and what the first page of them holds.
  struct Listing {
    std::vector<Child> children;
    Nodes first;  // later the page that is being written
  };
  // Read on the threads of `ahead_` while others are written; without them when the result is asked for.
  template <class Read>
  auto ahead(Read read) -> std::future<decltype(read())> {
    if (!ahead_) return std::async(std::launch::deferred, std::move(read));
    auto task = std::make_shared<std::packaged_task<decltype(read())()>>(std::move(read));
    ahead_->submit([task] { (*task)(); });
    return task->get_future();
  }
  Result<Nodes> read_nodes(const std::vector<std::pair<Ino, FileType>>& inodes);
  Result<Nodes> read_page(const std::vector<Child>& children, size_t at);
  Result<Listing> read_listing(Ino dir);
  Result<void> write_page(const std::vector<Child>& children, size_t at, const Nodes& nodes, int depth);
  Result<void> write_node(Ino ino, const Node& node, int depth);
  Result<void> write_entries(Ino dir, int depth);
  Result<const AclRule*> acl(uint32_t id);
  Result<void> put(std::string_view text) {
    buffer_ += text;
    if (buffer_.size() < (1 << 18)) return {};
    ZEST_TRY(out_.write(buffer_));
    buffer_.clear();
    return {};
  }
  Result<void> field(int depth, const std::string& name, std::string_view value) {
    return put(fmt::format("{}\"{}\": {}", std::string(static_cast<size_t>(depth) * 2, ' '), name, value));
  }

  meta::Meta& meta_;
  const DumpOptions& options_;
  Sink& out_;
  std::string buffer_;
  std::map<uint32_t, AclRule> acls_;
  std::map<Ino, std::future<Result<Listing>>> listings_;  // of directories to be written soon
  std::optional<ThreadPool> ahead_;                       // ends first: its tasks use the rest
};

// An indented JSON value as the member `key` of the outermost object.
std::string member(const char* key, const Json& value) {
  auto text = value.empty() ? std::string(value.is_array() ? "[]" : "{}")
                            : value.dump(2, ' ', false, Json::error_handler_t::replace);
  std::string out = fmt::format("  \"{}\": ", key);
  for (char c : text) {
    out += c;
    if (c == '\n') out += "  ";
  }
  return out + ",\n";
}

Result<Json> setting_json(meta::Meta& meta, bool keep_secrets) {
  auto format = meta.format();
  ZEST_ASSIGN(auto text, dump_format(format));
  auto setting = Json::parse(text, nullptr, false);
  if (setting.is_discarded()) return fail(EIO, "the volume's settings are no JSON");
  if (!keep_secrets)
    for (const char* secret : {"SecretKey", "SessionToken"})
      if (setting.contains(secret)) setting[secret] = "removed";
  return setting;
}

Result<void> JsonWriter::write_head() {
  auto& engine = meta_.engine();
  ZEST_TRY(put("{\n"));
  ZEST_ASSIGN(auto setting, setting_json(meta_, options_.keep_secrets));
  ZEST_TRY(put(member("Setting", setting)));
  std::map<std::string, int64_t> counters;
  ZEST_TRY(engine.scan(Table::kCounters, 0, [&](const Key& key, const meta::Value& value) {
    if (auto* number = std::get_if<int64_t>(&value)) counters[key.name] = *number;
    return true;
  }));
  namespace c = meta::counter;
  Json numbers;
  for (auto& [name, counter] : {std::pair{"usedSpace", c::kUsedSpace},
                                {"usedInodes", c::kTotalInodes},
                                {"nextInodes", c::kNextInode},
                                {"nextChunk", c::kNextChunk},
                                {"nextSession", c::kNextSession},
                                {"nextTrash", c::kNextTrash}})
    numbers[name] = counters[counter];
  ZEST_ASSIGN(const auto log, engine.log_range());
  if (log.last > 0) numbers[kLastChangelog] = log.last;
  ZEST_TRY(put(member("Counters", numbers)));
  std::map<uint64_t, std::vector<uint64_t>> sustained;
  ZEST_TRY(engine.scan(Table::kSustainedTable, 0, [&](const Key& key, const meta::Value&) {
    sustained[key.a].push_back(key.b);
    return true;
  }));
  Json sessions = Json::array(), deleted = Json::array(), quotas = Json::object();
  for (auto& [sid, inodes] : sustained) sessions.push_back(Json{{"sid", sid}, {"inodes", inodes}});
  ZEST_TRY(put(member("Sustained", sessions)));
  ZEST_TRY(engine.scan(Table::kDelFiles, 0, [&](const Key& key, const meta::Value& value) {
    auto* expire = std::get_if<int64_t>(&value);
    deleted.push_back(Json{{"inode", key.a}, {"length", key.b}, {"expire", expire ? *expire : 0}});
    return true;
  }));
  ZEST_TRY(put(member("DelFiles", deleted)));
  std::map<std::string, Quota> limits;
  ZEST_TRY(engine.scan(Table::kDirQuotas, 0, [&](const Key& key, const meta::Value& value) {
    if (auto* quota = std::get_if<Quota>(&value)) limits[std::to_string(key.a)] = *quota;
    return true;
  }));
  for (auto& [ino, quota] : limits) quotas[ino] = Json{{"maxSpace", quota.max_space}, {"maxInodes", quota.max_inodes}};
  return quotas.empty() ? Result<void>{} : put(member("Quotas", quotas));
}

Result<const AclRule*> JsonWriter::acl(uint32_t id) {
  if (auto known = acls_.find(id); known != acls_.end()) return &known->second;
  std::optional<AclRule> rule;
  ZEST_TRY(meta::read(meta_.engine(), system_clock(), [&](meta::Txn& txn) -> Result<void> {
    ZEST_ASSIGN(rule, txn.acl(id));
    return {};
  }));
  if (!rule) return nullptr;
  return &acls_.emplace(id, *rule).first->second;
}

Result<JsonWriter::Nodes> JsonWriter::read_nodes(const std::vector<std::pair<Ino, FileType>>& inodes) {
  std::vector<Node> nodes(inodes.size());
  ZEST_TRY(meta::read(meta_.engine(), system_clock(), [&](meta::Txn& txn) -> Result<void> {
    std::vector<meta::Want> wants;
    for (auto& [ino, type] : inodes) {
      wants.push_back({Key::inode(ino)});
      wants.push_back({Key::xattrs(ino)});
      if (type == FileType::kFile) wants.push_back({Key::chunk(ino, 0)});
      if (type == FileType::kSymlink) wants.push_back({Key::symlink(ino)});
    }
    ZEST_TRY(txn.want(wants));
    std::vector<std::pair<size_t, ChunkIndex>> more;  // chunks behind the first, of long files
    for (size_t i = 0; i < inodes.size(); i++) {
      auto [ino, type] = inodes[i];
      auto& node = nodes[i];
      ZEST_ASSIGN(auto attr, txn.attr(ino));
      if (attr)
        node.attr = *attr;
      else
        node.attr.type = type, node.attr.nlink = 0;
      ZEST_ASSIGN(node.xattrs, txn.xattrs(ino));
      if (type == FileType::kSymlink) {
        ZEST_ASSIGN(auto target, txn.symlink(ino));
        node.symlink = target.value_or("");
      }
      if (type != FileType::kFile) continue;
      auto last = node.attr.length == 0 ? 0 : (node.attr.length - 1) / kChunkSize;
      for (uint64_t c = 0; c <= last && last < 4096; c++) more.push_back({i, static_cast<ChunkIndex>(c)});
    }
    wants.clear();
    for (auto& [i, index] : more) wants.push_back({Key::chunk(inodes[i].first, index)});
    ZEST_TRY(txn.want(wants));
    for (auto& [i, index] : more) {
      ZEST_ASSIGN(auto records, txn.chunk(inodes[i].first, index));
      if (records.empty()) continue;
      ZEST_ASSIGN(nodes[i].chunks[index], decode_slices(records));
    }
    return {};
  }));
  // a very long file is mostly holes: find the chunks it has
  for (size_t i = 0; i < inodes.size(); i++) {
    if (inodes[i].second != FileType::kFile || nodes[i].attr.length / kChunkSize < 4096) continue;
    ZEST_TRY(meta_.engine().scan(Table::kChunks, raw(inodes[i].first), [&](const Key& key, const meta::Value& value) {
      if (auto* records = std::get_if<std::string>(&value))
        if (auto slices = decode_slices(*records)) nodes[i].chunks[static_cast<ChunkIndex>(key.b)] = *slices;
      return true;
    }));
  }
  return nodes;
}

Result<void> JsonWriter::write_node(Ino ino, const Node& node, int depth) {
  ZEST_TRY(field(depth, "attr", attr_json(ino, node.attr)));
  if (node.attr.type == FileType::kSymlink) {
    ZEST_TRY(put(",\n"));
    ZEST_TRY(field(depth, "symlink", "\"" + escape(node.symlink) + "\""));
  }
  if (!node.xattrs.empty()) {
    std::string list = "[";
    for (auto& [name, value] : node.xattrs)
      list += fmt::format("{}{{\"name\":{},\"value\":{}}}", list.size() > 1 ? "," : "", json_string(name),
                          json_string(escape(value)));
    ZEST_TRY(put(",\n"));
    ZEST_TRY(field(depth, "xattrs", list + "]"));
  }
  for (auto [name, id] :
       {std::pair{"posix_acl_access", node.attr.access_acl}, {"posix_acl_default", node.attr.default_acl}}) {
    if (!id) continue;
    ZEST_ASSIGN(auto* rule, acl(id));
    if (!rule) continue;
    ZEST_TRY(put(",\n"));
    ZEST_TRY(field(depth, name, acl_json(*rule)));
  }
  if (!node.chunks.empty()) {
    ZEST_TRY(put(",\n"));
    std::string indent(static_cast<size_t>(depth) * 2, ' ');
    if (node.chunks.size() == 1) {
      ZEST_TRY(field(depth, "chunks", "[" + chunk_json(node.chunks.begin()->first, node.chunks.begin()->second) + "]"));
    } else {
      ZEST_TRY(field(depth, "chunks", "[\n"));
      size_t left = node.chunks.size();
      for (auto& [index, slices] : node.chunks)
        ZEST_TRY(put(fmt::format("{}  {}{}\n", indent, chunk_json(index, slices), --left ? "," : "")));
      ZEST_TRY(put(indent + "]"));
    }
  }
  if (!node.attr.is_dir()) return put("\n");
  ZEST_TRY(put(",\n"));
  ZEST_TRY(field(depth, "entries", "{\n"));
  ZEST_TRY(write_entries(ino, depth + 1));
  return put(std::string(static_cast<size_t>(depth) * 2, ' ') + "}\n");
}

Result<JsonWriter::Nodes> JsonWriter::read_page(const std::vector<Child>& children, size_t at) {
  std::vector<std::pair<Ino, FileType>> inodes;
  for (size_t i = at; i < std::min(at + kPage, children.size()); i++)
    inodes.push_back({children[i].ino, children[i].type});
  return read_nodes(inodes);
}

Result<JsonWriter::Listing> JsonWriter::read_listing(Ino dir) {
  Listing listing;
  auto& children = listing.children;
  std::string cursor;
  do {
    ZEST_ASSIGN(auto page, meta_.engine().list(dir, cursor, 10'000, false));
    for (auto& entry : page) children.push_back({std::move(entry.name), entry.entry.ino, entry.entry.type});
  } while (!cursor.empty());
  std::sort(children.begin(), children.end(), [](auto& a, auto& b) { return a.name < b.name; });
  children.erase(std::unique(children.begin(), children.end(), [](auto& a, auto& b) { return a.name == b.name; }),
                 children.end());
  ZEST_ASSIGN(listing.first, read_page(children, 0));
  return listing;
}

Result<void> JsonWriter::write_entries(Ino dir, int depth) {
  if (depth > 100'000) return fail(ELOOP, "the tree is too deep: a directory lies in itself");
  auto soon = listings_.extract(dir);
  ZEST_ASSIGN(auto read, soon ? soon.mapped().get() : read_listing(dir));
  auto listing = std::make_shared<Listing>(std::move(read));  // shared with the pages that are being read
  const auto& children = listing->children;
  std::deque<std::future<Result<Nodes>>> pages;
  size_t next = kPage;
  for (size_t at = 0; at < children.size(); at += kPage) {
    while (next < children.size() && pages.size() < static_cast<size_t>(std::max(1, options_.threads))) {
      pages.push_back(ahead([this, listing, next] { return read_page(listing->children, next); }));
      next += kPage;
    }
    if (at > 0) {
      ZEST_ASSIGN(listing->first, pages.front().get());
      pages.pop_front();
    }
    ZEST_TRY(write_page(children, at, listing->first, depth));
  }
  return {};
}

// The directories of the page that come next are listed while this one is written.
Result<void> JsonWriter::write_page(const std::vector<Child>& children, size_t at, const Nodes& nodes, int depth) {
  std::string indent(static_cast<size_t>(depth) * 2, ' ');
  const size_t end = at + nodes.size();
  size_t next = at;
  int waiting = 0;
  for (size_t i = at; i < end; i++) {
    if (options_.cancelled && *options_.cancelled) return fail(EINTR);
    for (; ahead_ && next < end && waiting < options_.threads; next++) {
      if (children[next].type != FileType::kDirectory) continue;
      listings_.emplace(children[next].ino, ahead([this, ino = children[next].ino] { return read_listing(ino); }));
      waiting++;
    }
    ZEST_TRY(put(fmt::format("{}\"{}\": {{\n", indent, escape(children[i].name))));
    ZEST_TRY(write_node(children[i].ino, nodes[i - at], depth + 1));
    ZEST_TRY(put(fmt::format("{}}}{}\n", indent, i + 1 < children.size() ? "," : "")));
    if (children[i].type == FileType::kDirectory) waiting--;
    if (options_.progress) (*options_.progress)++;
  }
  return {};
}

Result<void> JsonWriter::write_tree(const char* key, Ino ino) {
  ZEST_ASSIGN(auto nodes, read_nodes({{ino, FileType::kDirectory}}));
  auto& node = nodes[0];
  if (ino == kTrashIno && node.attr.nlink == 0)
    node.attr = Attr{}, node.attr.type = FileType::kDirectory, node.attr.nlink = 2;
  ZEST_TRY(put(fmt::format("  \"{}\": {{\n", key)));
  ZEST_TRY(write_node(ino, node, 2));
  return put("  }");
}

Result<void> JsonWriter::write() {
  ZEST_TRY(write_head());
  ZEST_TRY(write_tree("FSTree", options_.root));
  if (options_.root == kRootIno && !options_.skip_trash) {
    ZEST_TRY(put(",\n"));
    ZEST_TRY(write_tree("Trash", kTrashIno));
  }
  ZEST_TRY(put("\n}\n"));
  ZEST_TRY(out_.write(buffer_));
  return out_.finish();
}

}  // namespace

Result<void> dump_json(meta::Meta& meta, const DumpOptions& options, Sink& out) {
  return JsonWriter(meta, options, out).write();
}

}  // namespace zest::dump
