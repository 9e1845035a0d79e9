// Redis as a client sees it: finds the server (alone, behind sentinels, in a cluster), keeps a few shared connections
// to it, connects again after failures, runs scripts. Knows nothing of volumes.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/spent.h"
#include "meta/engine/redis/connection.h"
#include "meta/engine/redis/url.h"

namespace zest::meta::redis {

struct Script {
  std::string text, sha;  // sha: lower-case hex SHA-1 of the text
  explicit Script(std::string source);
};

std::string sha1_hex(std::string_view bytes);

// The Error an error reply stands for. kUnavailable where trying again later can help.
Error error_of(const Reply& reply);

class Client {
 public:
  // `scripts` are loaded with every new connection. Does not connect yet.
  Client(Settings settings, std::vector<const Script*> scripts);

  // Bulk work (listings, scans) has a connection of its own, so that small requests do not queue behind its replies.
  // Ordered requests all take the same one.
  enum class Lane { kSmall, kOrdered, kBulk };
  // Whether a request that may have been carried out can be sent again.
  enum class Repeat { kNever, kSafe };

  // The replies of the requests; error replies are in them. Fails with kUnavailable, or (kNever) kUnknownOutcome. One
  // round trip when connected; tries a second connection when the first turns out to be dead.
  Result<std::vector<Reply>> exchange(const Pipeline& requests, Repeat repeat, Lane lane = Lane::kSmall,
                                      const std::function<void()>& queued = {});
  // One command; an error reply becomes an Error.
  Result<Reply> call(const std::vector<std::string>& args, Repeat repeat, Lane lane = Lane::kSmall);
  // EVALSHA; loads the script when the server does not have it. queued: as of Connection::exchange; may be called
  // again.
  Result<Reply> eval(const Script& script, const std::vector<std::string>& keys, const std::vector<std::string>& args,
                     Repeat repeat, Lane lane = Lane::kSmall, const std::function<void()>& queued = {});
  // Commands that see one moment: MULTI ... EXEC. The replies are those of `commands`.
  Result<std::vector<Reply>> atomically(const std::vector<std::vector<std::string>>& commands, Repeat repeat);

  // A connection of the caller's own, on which the server tells of changes to keys with these prefixes: `on_push` gets
  // its messages from within calls on the connection. Plain errors: the server cannot do it.
  Result<std::shared_ptr<Connection>> listen(const std::vector<std::string>& prefixes,
                                             std::function<void(const Reply&)> on_push);

  // True once it is known that the server is part of a cluster; then keys carry "{db}". [1 the first time]
  Result<bool> clustered();
  const Settings& settings() const { return settings_; }
  uint64_t round_trips() const { return round_trips_; }
  // How often the data turned out to be at another server than before.
  uint64_t moves() const { return moves_; }

 private:
  struct Slot {
    std::mutex mutex;  // held while connecting
    std::shared_ptr<Connection> connection;
    uint64_t attempts = 0;
    Error last_error;
  };
  Slot& pick(Lane lane);
  Result<std::shared_ptr<Connection>> connection(Slot& slot);
  Result<std::shared_ptr<Connection>> connect(const Address& address, bool with_data);
  Result<std::vector<Reply>> try_once(const Pipeline& requests, Lane lane, const std::function<void()>& queued);
  Result<Address> locate();
  Result<Address> ask_sentinels();
  Result<std::vector<Address>> sentinel_replicas(const Address& sentinel);
  Result<Address> ask_cluster();
  Result<Address> find_master();
  Result<Reply> ask(const Address& address, const std::vector<std::string>& question);
  Address choose(const Address& master, std::vector<Address> replicas);
  bool must_be_master() const;
  void forget_server();
  void give_up_connections();
  void count_round_trip() {
    round_trips_++;
    note_round_trip();
  }
  void note_failures(const std::vector<Reply>& replies);
  Result<void> detect_cluster();

  const Settings settings_;
  const std::vector<const Script*> scripts_;
  std::vector<std::unique_ptr<Slot>> slots_;  // the last one is for bulk work
  std::mutex where_mutex_;
  std::optional<Address> where_, last_known_;
  std::atomic<int> clustered_{-1};  // -1: not known yet
  std::atomic<bool> was_let_in_{false};
  std::atomic<uint64_t> round_trips_{0}, moves_{0};
};

}  // namespace zest::meta::redis
