#include "meta/engine/redis/scan.h"

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "meta/engine/redis/patience.h"

namespace zest::meta::redis {

namespace {

constexpr uint64_t kFirstChunks = 16;  // of a file, looked for whatever its length: some lie past it

constexpr char kCount[] = "1000";

bool number_behind(std::string_view key, std::string_view letters, uint64_t& out) {
  if (!key.starts_with(letters)) return false;
  key.remove_prefix(letters.size());
  if (key.empty() || key.find_first_not_of("0123456789") != key.npos) return false;
  auto value = parse_uint(key);
  if (value) out = *value;
  return value.has_value();
}

bool number_in(const std::string& text, uint64_t& out) { return number_behind(text, "", out); }

}  // namespace

Result<Reply> Scanner::call(const Strings& args) {
  return patiently(client_.settings(), [&] { return client_.call(args, Client::Repeat::kSafe, Client::Lane::kBulk); });
}

Result<std::vector<Reply>> Scanner::pipeline(const std::vector<Strings>& commands) {
  Pipeline all;
  for (const auto& command : commands) all.add_list(command);
  return patiently(client_.settings(), [&]() -> Result<std::vector<Reply>> {
    ZEST_ASSIGN(auto replies, client_.exchange(all, Client::Repeat::kSafe, Client::Lane::kBulk));
    for (const Reply& reply : replies)
      if (reply.is_error()) return fail(error_of(reply));
    return replies;
  });
}

Result<void> Scanner::pages(const std::string& command, const std::string& key, const std::string& pattern,
                            const Page& page) {
  std::string cursor = "0";
  do {
    Strings args{command};
    if (!key.empty()) args.push_back(key);
    args.push_back(cursor);
    if (!pattern.empty()) args.insert(args.end(), {"MATCH", pattern});
    args.insert(args.end(), {"COUNT", kCount});
    ZEST_ASSIGN(auto reply, call(args));
    if (!reply.is_array() || reply.items.size() != 2 || !reply.items[1].is_array())
      return fail(EPROTO, "Redis: unexpected reply to " + command);
    cursor = reply.items[0].text;
    Strings items;
    for (Reply& item : reply.items[1].items) items.push_back(std::move(item.text));
    if (!items.empty()) ZEST_TRY(page(items));
  } while (cursor != "0" && !stop_);
  return {};
}

Result<void> Scanner::numbered(const std::string& letter,
                               const std::function<Result<void>(std::vector<uint64_t>&)>& page) {
  const std::string letters = layout_.key(letter);
  return pages("SCAN", "", letters + "[0-9]*", [&](Strings& keys) -> Result<void> {
    std::vector<uint64_t> numbers;
    uint64_t number;
    for (const auto& key : keys)
      if (number_behind(key, letters, number)) numbers.push_back(number);
    std::sort(numbers.begin(), numbers.end());  // a page may name a key twice
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    if (numbers.empty()) return {};
    return page(numbers);
  });
}

Result<void> Scanner::give(const Key& key, std::vector<Raw> raws) {
  if (stop_) return {};
  ZEST_ASSIGN(auto value, decode(key, raws));
  if (!std::holds_alternative<std::monostate>(value) && !each_(key, value)) stop_ = true;
  return {};
}

Result<void> Scanner::give_all(const std::vector<Key>& keys) {
  std::vector<Strings> commands;
  std::vector<std::vector<Part>> parts;
  for (const auto& key : keys) {
    parts.push_back(layout_.parts(key));
    for (const auto& part : parts.back()) commands.push_back(read_command(part));
  }
  if (commands.empty()) return {};
  ZEST_ASSIGN(auto replies, pipeline(commands));
  size_t at = 0;
  for (size_t i = 0; i < keys.size() && !stop_; i++) {
    std::vector<Raw> raws;
    for (const auto& part : parts[i]) {
      ZEST_ASSIGN(auto raw, read_reply(part, replies[at++]));
      raws.push_back(std::move(raw));
    }
    ZEST_TRY(give(keys[i], std::move(raws)));
  }
  return {};
}

Result<void> Scanner::records(const std::string& letter, const std::function<Key(uint64_t)>& make) {
  return numbered(letter, [&](std::vector<uint64_t>& numbers) {
    std::vector<Key> keys;
    for (uint64_t number : numbers) keys.push_back(make(number));
    return give_all(keys);
  });
}

Result<void> Scanner::fields(const std::string& command, const std::string& name,
                             const std::function<bool(const std::string&, Key&)>& parse) {
  return pages(command, layout_.key(name), "", [&](Strings& items) -> Result<void> {
    for (size_t i = 0; i + 1 < items.size() && !stop_; i += 2) {
      Key key{Kind::kSetting};
      if (parse(items[i], key)) ZEST_TRY(give(key, {{true, std::move(items[i + 1]), {}}}));
    }
    return {};
  });
}

Result<void> Scanner::entries() {
  return numbered("d", [&](std::vector<uint64_t>& dirs) -> Result<void> {
    for (uint64_t dir : dirs) {
      ZEST_TRY(pages("HSCAN", layout_.key("d", dir), "", [&](Strings& items) -> Result<void> {
        for (size_t i = 0; i + 1 < items.size() && !stop_; i += 2)
          ZEST_TRY(give(Key::entry(Ino{dir}, items[i]), {{true, std::move(items[i + 1]), {}}}));
        return {};
      }));
      if (stop_) break;
    }
    return {};
  });
}

Result<void> Scanner::chunk_keys(const std::string& pattern,
                                 const std::function<Result<void>(const std::vector<Key>&)>& page) {
  const std::string letters = layout_.key("c");
  return pages("SCAN", "", letters + pattern, [&](Strings& names) -> Result<void> {
    std::set<Key> keys;
    for (const auto& name : names) {
      uint64_t ino, index;
      if (parse_pair(std::string_view(name).substr(letters.size()), '_', ino, index) && index <= UINT32_MAX)
        keys.insert(Key::chunk(Ino{ino}, static_cast<ChunkIndex>(index)));
    }
    return page({keys.begin(), keys.end()});
  });
}

Result<void> Scanner::chunks() {
  return chunk_keys("[0-9]*_[0-9]*", [this](const std::vector<Key>& keys) { return give_all(keys); });
}

// All short files in one round trip: is there the first chunk, is there any of the next ones?
Result<std::vector<Key>> Scanner::chunks_of(std::span<const std::pair<Ino, uint64_t>> files) {
  std::vector<Strings> commands;
  for (const auto& [ino, length] : files) {
    commands.push_back({"EXISTS", layout_.chunk_key(raw(ino), 0)});
    Strings others{"EXISTS"};
    for (uint64_t i = 1; i < kFirstChunks; i++) others.push_back(layout_.chunk_key(raw(ino), i));
    commands.push_back(std::move(others));
  }
  ZEST_ASSIGN(auto found, pipeline(commands));
  std::vector<Key> out;
  for (size_t i = 0; i < files.size(); i++) {
    const auto& [ino, length] = files[i];
    if (length <= kFirstChunks * kChunkSize && found[2 * i + 1].integer == 0) {
      if (found[2 * i].integer > 0) out.push_back(Key::chunk(ino, 0));
      continue;
    }
    ZEST_ASSIGN(auto chunks, chunks_of(ino, length));
    out.insert(out.end(), chunks.begin(), chunks.end());
  }
  return out;
}

// There is no list of a file's chunks, and looking through all keys of a volume for those of one file is dear. So their
// keys are tried: up to the file's length, then as far again as the last one found. Only where that would be too many,
// all keys are looked through.
Result<std::vector<Key>> Scanner::chunks_of(Ino ino, uint64_t length) {
  constexpr uint64_t kStep = 1000, kTried = 20'000;
  std::set<uint64_t> indices;
  uint64_t until = std::max(kFirstChunks, (length + kChunkSize - 1) / kChunkSize);
  if (until > kTried) {
    std::vector<Key> out;
    ZEST_TRY(chunk_keys(std::to_string(raw(ino)) + "_[0-9]*", [&](const std::vector<Key>& keys) -> Result<void> {
      out.insert(out.end(), keys.begin(), keys.end());
      return {};
    }));
    return out;
  }
  for (uint64_t at = 0; at < until;) {
    uint64_t end = std::min(until, at + kStep);
    std::vector<Strings> commands;
    for (uint64_t i = at; i < end; i++) commands.push_back({"EXISTS", layout_.chunk_key(raw(ino), i)});
    ZEST_ASSIGN(auto found, pipeline(commands));
    for (uint64_t i = at; i < end; i++)
      if (found[i - at].integer > 0) indices.insert(i);
    if (!indices.empty()) until = std::max(until, 2 * *indices.rbegin() + 2);
    at = end;
  }
  std::vector<Key> out;
  for (uint64_t index : indices) out.push_back(Key::chunk(ino, static_cast<ChunkIndex>(index)));
  return out;
}

Result<void> Scanner::chunks_within(uint64_t ino) {
  ZEST_ASSIGN(auto reply, call({"GET", layout_.key("i", ino)}));
  auto attr = decode_attr(reply.text);
  ZEST_ASSIGN(auto all, chunks_of(Ino{ino}, reply.is_bulk() && attr ? attr->length : UINT64_MAX - kChunkSize));
  constexpr size_t kPage = 500;
  for (size_t at = 0; at < all.size() && !stop_; at += kPage)
    ZEST_TRY(give_all({all.begin() + static_cast<ptrdiff_t>(at),
                       all.begin() + static_cast<ptrdiff_t>(std::min(all.size(), at + kPage))}));
  return {};
}

Result<void> Scanner::xattrs_of(uint64_t ino) {
  return pages("HSCAN", layout_.key("x", ino), "", [&](Strings& items) -> Result<void> {
    for (size_t i = 0; i + 1 < items.size() && !stop_; i += 2)
      ZEST_TRY(give(Key::xattr(Ino{ino}, items[i]), {{true, std::move(items[i + 1]), {}}}));
    return {};
  });
}

Result<void> Scanner::xattrs(uint64_t within) {
  if (within != 0) return xattrs_of(within);
  return numbered("x", [&](std::vector<uint64_t>& inodes) -> Result<void> {
    for (uint64_t ino : inodes) {
      ZEST_TRY(xattrs_of(ino));
      if (stop_) break;
    }
    return {};
  });
}

Result<void> Scanner::sustained_of(uint64_t sid) {
  return pages("SSCAN", layout_.key("session", sid), "", [&](Strings& members) -> Result<void> {
    uint64_t ino;
    for (const auto& member : members)
      if (number_in(member, ino)) ZEST_TRY(give(Key::sustained(sid, Ino{ino}), {{true, {}, {}}}));
    return {};
  });
}

Result<void> Scanner::sustained(uint64_t within) {
  if (within != 0) return sustained_of(within);
  return numbered("session", [&](std::vector<uint64_t>& sids) -> Result<void> {
    for (uint64_t sid : sids) {
      ZEST_TRY(sustained_of(sid));
      if (stop_) break;
    }
    return {};
  });
}

Result<void> Scanner::locks_of(uint64_t sid, Kind kind) {
  const std::string letters = layout_.key(kind == Kind::kFlocks ? "lockf" : "lockp");
  return pages("SSCAN", layout_.key("locked", sid), "", [&](Strings& members) -> Result<void> {
    std::vector<Key> keys;
    uint64_t ino;
    for (const auto& member : members)
      if (number_behind(member, letters, ino))
        keys.push_back(kind == Kind::kFlocks ? Key::flocks(Ino{ino}) : Key::plocks(Ino{ino}));
    return give_all(keys);
  });
}

// Records spread over several hashes: their numbers come from one of them.
Result<void> Scanner::multi_part(const std::string& hash, Kind kind) {
  return pages("HSCAN", layout_.key(hash), "", [&](Strings& items) -> Result<void> {
    std::vector<Key> keys;
    uint64_t id;
    for (size_t i = 0; i + 1 < items.size(); i += 2)
      if (number_in(items[i], id)) keys.push_back({kind, id});
    return give_all(keys);
  });
}

Result<void> Scanner::sessions() {
  return pages("ZSCAN", layout_.key("allSessions"), "", [&](Strings& items) -> Result<void> {
    std::vector<Key> keys;
    uint64_t sid;
    for (size_t i = 0; i + 1 < items.size(); i += 2)
      if (number_in(items[i], sid)) keys.push_back(Key::session(sid));
    return give_all(keys);
  });
}

Result<void> Scanner::counters() {
  std::vector<Key> keys;
  for (const char* name :
       {counter::kUsedSpace, counter::kTotalInodes, counter::kNextInode, counter::kNextChunk, counter::kNextSession,
        counter::kNextTrash, counter::kAclMaxId, counter::kLastCleanupSessions, counter::kLastCleanupFiles,
        counter::kLastCleanupTrash, counter::kNextCleanupSlices})
    keys.push_back(Key::counter(name));
  return give_all(keys);
}

Result<void> Scanner::run(Table table, uint64_t within) {
  auto keyed = [this](const std::string& letter, Kind kind) {
    return records(letter, [kind](uint64_t id) { return Key{kind, id}; });
  };
  auto pair = [](Kind kind, char between, std::string_view lead) {
    return [=](const std::string& field, Key& key) {
      if (!field.starts_with(lead)) return false;
      key.kind = kind;
      return parse_pair(std::string_view(field).substr(lead.size()), between, key.a, key.b);
    };
  };
  auto single = [](Kind kind) {
    return [=](const std::string& field, Key& key) {
      key.kind = kind;
      return number_in(field, key.a);
    };
  };
  switch (table) {
    case Table::kInodes: return keyed("i", Kind::kInode);
    case Table::kEntries: return entries();
    case Table::kChunks: return within ? chunks_within(within) : chunks();
    case Table::kSymlinks: return keyed("s", Kind::kSymlink);
    case Table::kXattrTable: return xattrs(within);
    case Table::kDirStats: return multi_part("dirUsedSpace", Kind::kDirStat);
    case Table::kDirQuotas: return multi_part("dirQuota", Kind::kDirQuota);
    case Table::kUserQuotas: return multi_part("userQuota", Kind::kUserQuota);
    case Table::kGroupQuotas: return multi_part("groupQuota", Kind::kGroupQuota);
    case Table::kSliceRefs: return fields("HSCAN", "sliceRef", pair(Kind::kSliceRef, '_', "k"));
    case Table::kDelFiles: return fields("ZSCAN", "delfiles", pair(Kind::kDelFile, ':', ""));
    case Table::kDelSlicesTable: return fields("HSCAN", "delSlices", pair(Kind::kDelSlices, '_', ""));
    case Table::kSustainedTable: return sustained(within);
    case Table::kSessions: return sessions();
    case Table::kFlockTable: return within ? locks_of(within, Kind::kFlocks) : keyed("lockf", Kind::kFlocks);
    case Table::kPlockTable: return within ? locks_of(within, Kind::kPlocks) : keyed("lockp", Kind::kPlocks);
    case Table::kDetachedNodes: return fields("ZSCAN", "detachedNodes", single(Kind::kDetached));
    case Table::kAcls: return fields("HSCAN", "acl", single(Kind::kAcl));
    case Table::kCounters: return counters();
    case Table::kParentsTable: return keyed("p", Kind::kParents);
  }
  return {};
}

}  // namespace zest::meta::redis
