// A transaction: reads in pipelined round trips, one script that compares and writes. No WATCH: the script sees to it
// that what was read still holds, and what it writes ends the transactions of clients that do WATCH.
#pragma once

#include "meta/engine/redis/client.h"
#include "meta/engine/redis/coherent_cache.h"
#include "meta/engine/redis/commit.h"
#include "meta/engine/redis/commit_queue.h"
#include "meta/engine/redis/contention.h"

namespace zest::meta::redis {

class RedisTxn : public EngineTxn {
 public:
  // cache: null when there is none.
  RedisTxn(Client& client, CommitQueue& commits, const Layout& layout, CoherentCache* cache, bool write,
           Contention::Turn turn)
      : client_(client), commits_(commits), layout_(layout), cache_(cache), write_(write), turn_(std::move(turn)) {}

  Result<std::vector<Value>> fetch(std::span<const Want> wants, std::vector<std::pair<Key, Value>>& followed) override;
  void read_afresh() override { afresh_ = true; }
  bool await_turn() override { return turn_.take(); }
  bool assume(std::span<const std::pair<Key, Value>> records) override;
  Result<CommitResult> commit(std::span<const Change> changes) override;

 private:
  Result<std::vector<Value>> fetch_from_server(std::span<const Want> wants,
                                               std::vector<std::pair<Key, Value>>& followed);
  std::optional<std::vector<Value>> fetch_from_cache(std::span<const Want> wants,
                                                     std::vector<std::pair<Key, Value>>& followed);
  void keep_committed(std::span<const Change> changes, uint64_t since);
  Result<std::vector<Value>> fetch_plain(std::span<const Want> wants);
  Result<Value> take(const Key& key, std::vector<Raw> raws);
  Result<void> take_followed(const Want& want, Reply& reply, std::vector<Value>& values,
                             std::vector<std::pair<Key, Value>>& followed);
  Result<CommitResult> send(const Commit& commit);
  bool decides(std::span<const Change> changes) const;
  bool differs_from_read(const Change& change) const;
  Result<CommitResult> settle(const Commit& commit, std::span<const Change> changes, Error lost);
  Result<bool> written_by_us(std::span<const Change> changes);
  Result<CommitResult> results_afterwards(std::span<const Change> changes);

  Client& client_;
  CommitQueue& commits_;
  const Layout& layout_;
  CoherentCache* const cache_;
  const bool write_;
  bool afresh_ = false;
  Contention::Turn turn_;
  ReadSet reads_;  // the first that was read of each record
};

}  // namespace zest::meta::redis
