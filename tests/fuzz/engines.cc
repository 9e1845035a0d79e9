// Keys and values of the databases, and the protocols that they come by.
#include <fstream>

#include "base/bytes.h"
#include "fuzz.h"
#include "meta/engine/kv/etcd_json.h"
#include "meta/engine/kv/layout.h"
#include "meta/engine/kv/memory.h"
#include "meta/engine/redis/layout.h"
#include "meta/engine/redis/resp.h"
#include "meta/engine/redis/url.h"
#include "meta/engine/sql/rows.h"

namespace zest::fuzz {

namespace {

using namespace zest::meta;

constexpr auto kTables = static_cast<uint8_t>(Table::kParentsTable) + 1;
constexpr auto kLastKind = static_cast<uint8_t>(Kind::kHasEntries);
constexpr size_t kSeedsOfATable = 6;

// A table, a key and a value in one string.
std::string packed(uint8_t table, std::string_view key, std::string_view value) {
  std::string out;
  put_u8(out, table);
  put_be16(out, static_cast<uint16_t>(key.size()));
  return out.append(key).append(value);
}

void use_pair(std::string_view input) {
  ByteReader in(input);
  const auto table = static_cast<Table>(in.u8() % kTables);
  const auto name = in.bytes(in.be16());
  if (!in.ok()) return;
  auto key = kv::parse_key(table, name);
  if (!key) return;
  (void)kv::place_of(*key);
  const auto bytes = in.bytes(in.left());
  auto value = kv::decode_value(*key, bytes);
  if (!value || key->kind == Kind::kSession) return;  // a session is two records
  auto again = kv::decode_value(*key, kv::encode_value(*key, *value));
  require(again && *again == *value, "what was decoded survives encoding");
}

// Some records of each table of a volume that the reference wrote.
std::vector<std::string> golden_pairs(const std::string& folder) {
  kv::MemoryStore store;
  require(kv::load_etcd_json(folder + "/kvs.json", store).has_value(), "the golden volume loads");
  std::vector<size_t> taken(kTables);
  std::vector<std::string> seeds;
  for (auto& [key, value] : store.dump())
    for (uint8_t table = 0; table < kTables; table++) {
      if (!kv::parse_key(static_cast<Table>(table), key) || taken[table]++ >= kSeedsOfATable) continue;
      seeds.push_back(packed(table, key, value));
    }
  require(seeds.size() > 20, "the golden volume has records of many tables");
  return seeds;
}

// Replies of a Redis server, fed in two parts as the network may.
void use_replies(std::string_view input) {
  redis::ReplyParser parser;
  const size_t half = input.size() / 2;
  for (auto part : {input.substr(0, half), input.substr(half)}) {
    parser.feed(part);
    for (int i = 0; i < 1000; i++) {
      auto reply = parser.next();
      if (!reply || !*reply) break;
      redis::Part wanted{static_cast<redis::Read>("GHECLZMA"[i % 8]), "k", "f"};
      if (wanted.how != static_cast<redis::Read>('C')) (void)redis::read_reply(wanted, **reply);
    }
  }
}

// A record of each kind, from a string or a hash of two fields.
void use_redis_record(std::string_view input) {
  ByteReader in(input);
  const auto kind = static_cast<Kind>(in.u8() % (kLastKind + 1));
  const Key key{kind, in.u8(), in.u8(), "name"};
  const size_t parts = redis::Layout("").parts(key).size();
  std::vector<redis::Raw> raws(std::max<size_t>(parts, 1));
  for (auto& raw : raws) {
    raw.present = in.u8() % 4 != 0;
    const auto field = in.bytes(std::min<size_t>(in.u8(), in.left()));
    raw.text = in.bytes(std::min<size_t>(in.be16(), in.left()));
    raw.fields = {{std::string(field), raw.text}, {"1_2", "W"}};
  }
  (void)redis::decode(key, raws);
}

std::string redis_record(Kind kind, std::string_view field, std::string_view value) {
  std::string out;
  put_u8(out, static_cast<uint8_t>(kind)), put_u8(out, 2), put_u8(out, 0), put_u8(out, 1);
  put_u8(out, static_cast<uint8_t>(field.size()));
  out.append(field);
  put_be16(out, static_cast<uint16_t>(value.size()));
  return out.append(value);
}

std::vector<std::string> redis_records() {
  std::vector<std::string> seeds;
  for (uint8_t kind = 0; kind <= kLastKind; kind++) {
    seeds.push_back(redis_record(static_cast<Kind>(kind), "1_2", std::string(9, '\1')));
    seeds.push_back(redis_record(static_cast<Kind>(kind), "user.a", "12345"));
    seeds.push_back(redis_record(static_cast<Kind>(kind), "", std::string(72, '\1')));
  }
  return seeds;
}

// A row of numbers, texts and NULLs for each kind of record.
void use_row(std::string_view input) {
  ByteReader in(input);
  const auto kind = static_cast<Kind>(in.u8() % (kLastKind + 1));
  if (!sql::is_one_row(kind)) return;
  sql::Rows rows;
  rows.width = 32;
  for (size_t i = 0; i < rows.width; i++) {
    const uint8_t type = in.u8() % 3;
    if (type == 0)
      rows.cells.emplace_back();
    else if (type == 1)
      rows.cells.emplace_back(static_cast<int64_t>(in.be64()));
    else
      rows.cells.emplace_back(std::string(in.bytes(std::min<size_t>(in.u8(), in.left()))));
  }
  (void)sql::decode_key(kind, rows, 0, 0);
  (void)sql::decode_row({kind, 1, 2, "name"}, rows, 0, 2, true);
}

std::vector<std::string> rows() {
  std::vector<std::string> seeds;
  for (uint8_t kind = 0; kind <= kLastKind; kind++) {
    std::string row;
    put_u8(row, kind);
    for (int i = 0; i < 32; i++) {
      put_u8(row, i % 5 == 4 ? 2 : 1);
      if (i % 5 == 4)
        put_u8(row, 24), row.append(24, '\2');
      else
        put_be64(row, static_cast<uint64_t>(i));
    }
    seeds.push_back(row);
  }
  return seeds;
}

void use_redis_texts(std::string_view input) {
  (void)redis::parse_url(std::string(input));
  LockOwner owner;
  (void)redis::parse_lock_field(input, owner);
  uint64_t a = 0, b = 0;
  (void)redis::parse_pair(input, '_', a, b);
  (void)redis::parse_score(input);
}

}  // namespace

std::vector<Target> engine_targets(const std::string& golden) {
  return {
      {"engines.kv", golden_pairs(golden), use_pair},
      {"engines.sql", rows(), use_row},
      {"engines.redis", redis_records(), use_redis_record},
      {"engines.resp",
       {"+OK\r\n", "-ERR no\r\n:42\r\n", "$5\r\nhello\r\n*2\r\n$1\r\na\r\n$-1\r\n",
        "%1\r\n+k\r\n*3\r\n:1\r\n:2\r\n_\r\n", ">2\r\n+invalidate\r\n*1\r\n$2\r\ni1\r\n",
        "~1\r\n#t\r\n,1.5\r\n(123456789012345678901234567890\r\n=7\r\ntxt:abc\r\n", "*-1\r\n*0\r\n$0\r\n\r\n"},
       use_replies},
      {"engines.redis_texts",
       {"redis://user:p%40ss@host:6379/1?dial-timeout=5s&tls-cert-file=/x", "rediss://[::1]:6380/0",
        "unix:///run/redis.sock?db=3", "redis://:p@master,a,b:26379/2", "123_456", "9_ABCDEF0123456789", "1.7e9",
        "inf"},
       use_redis_texts},
  };
}

}  // namespace zest::fuzz
