// Compaction of chunks (semantics.md 13.3): many small slices become one. Each chunk is compacted by one thread of this
// client at a time; other clients are kept apart by the transaction that replaces the records.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "base/threads.h"
#include "meta/api.h"

namespace zest::meta {

struct State;

class Compactor {
 public:
  Compactor();
  ~Compactor();
  // In the background; dropped when the chunk is being compacted already or more than 10 are.
  void background(State& state, Ino ino, ChunkIndex chunk);
  // Now, after a running compaction of the chunk has ended. Does nothing (false) with fewer records than at_least; true
  // when the list became shorter.
  Result<bool> compact(State& state, Ino ino, ChunkIndex chunk, size_t at_least = 2);
  void drain();  // waits for what is queued
  void stop();   // drops what is queued, waits for what runs, refuses what comes later

 private:
  Result<bool> run(State& state, Ino ino, ChunkIndex chunk, size_t at_least, bool thrifty);
  void release(Ino ino, ChunkIndex chunk);

  std::mutex mutex_;
  std::condition_variable released_;
  std::set<std::pair<Ino, ChunkIndex>> busy_;
  bool stopped_ = false;
  std::unique_ptr<ThreadPool> pool_;
};

}  // namespace zest::meta
