// Every record of a table, page by page.
#pragma once

#include <functional>
#include <span>

#include "meta/engine/redis/client.h"
#include "meta/engine/redis/layout.h"

namespace zest::meta::redis {

using Each = std::function<bool(const Key&, const Value&)>;

class Scanner {
 public:
  Scanner(Client& client, const Layout& layout, Each each) : client_(client), layout_(layout), each_(std::move(each)) {}
  Result<void> run(Table table, uint64_t within);
  Result<std::vector<Key>> chunks_of(std::span<const std::pair<Ino, uint64_t>> files);

 private:
  Result<std::vector<Key>> chunks_of(Ino ino, uint64_t length);
  using Strings = std::vector<std::string>;
  using Page = std::function<Result<void>(Strings&)>;  // members, or fields and values, or members and scores

  Result<Reply> call(const Strings& args);
  Result<std::vector<Reply>> pipeline(const std::vector<Strings>& commands);
  // SCAN, HSCAN, SSCAN, ZSCAN to the end, or until stop_
  Result<void> pages(const std::string& command, const std::string& key, const std::string& pattern, const Page& page);
  // Keys `letter` + number of this volume, with their numbers
  Result<void> numbered(const std::string& letter, const std::function<Result<void>(std::vector<uint64_t>&)>& page);
  // One record per field of a hash, or member of a sorted set
  Result<void> fields(const std::string& command, const std::string& name,
                      const std::function<bool(const std::string&, Key&)>& parse);
  // Records of whole keys: read with the parts of `make(number)`
  Result<void> records(const std::string& letter, const std::function<Key(uint64_t)>& make);
  Result<void> give_all(const std::vector<Key>& keys);  // reads them in one round trip
  Result<void> give(const Key& key, std::vector<Raw> raws);

  Result<void> entries();
  Result<void> chunks();
  Result<void> chunks_within(uint64_t ino);
  Result<void> chunk_keys(const std::string& pattern, const std::function<Result<void>(const std::vector<Key>&)>& page);
  Result<void> xattrs(uint64_t within);
  Result<void> xattrs_of(uint64_t ino);
  Result<void> sustained(uint64_t within);
  Result<void> sustained_of(uint64_t sid);
  Result<void> locks_of(uint64_t sid, Kind kind);
  Result<void> multi_part(const std::string& hash, Kind kind);
  Result<void> sessions();
  Result<void> counters();

  Client& client_;
  const Layout& layout_;
  const Each each_;
  bool stop_ = false;
};

}  // namespace zest::meta::redis
