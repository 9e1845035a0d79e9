// Server-assisted invalidation (docs/format/redis.md section 14): a connection on which Redis tells which inodes and
// directories change, and a thread that hands this on to a CoherentCache and reads again what users may still believe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "meta/engine/redis/client.h"
#include "meta/engine/redis/coherent_cache.h"
#include "meta/engine/redis/layout.h"

namespace zest::meta::redis {

class Tracking {
 public:
  // All three must outlive it. Connects in the background, again and again; gives up when the server cannot do it.
  Tracking(Client& client, const Layout& layout, CoherentCache& cache);
  ~Tracking();
  Tracking(const Tracking&) = delete;

 private:
  void run();
  bool pause();  // false: the end has come
  void serve(Connection& connection, uint64_t moves);
  void take(const Reply& push);
  Result<void> verify(Connection& connection, const std::vector<Key>& keys);

  Client& client_;
  const Layout& layout_;
  CoherentCache& cache_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  std::shared_ptr<Connection> connection_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace zest::meta::redis
