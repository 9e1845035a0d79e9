#include "meta/engine/redis/client.h"

#include <openssl/evp.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <span>

#include "base/bytes.h"

namespace zest::meta::redis {

namespace {

using Args = std::vector<std::string>;

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [text](auto word) { return text.starts_with(word); });
}

// The server we talk to is not, or no longer, the one that takes our writes.
bool wrong_server(std::string_view error) {
  return starts_with_any(error, {"READONLY", "MOVED", "MASTERDOWN", "ERR DISABLE", "ERR NOWRITE", "ERR NOREAD"}) ||
         error.find("READONLY You can't write") != error.npos;
}

// The connections are of no use any longer, others may be. A commit's own errors stand within the script's answer.
bool ends_connections(const Reply& reply) {
  if (reply.is_error()) return wrong_server(reply.text) || reply.text.starts_with("NOAUTH");
  return std::any_of(reply.items.begin(), reply.items.end(),
                     [](const Reply& item) { return item.is_error() && wrong_server(item.text); });
}

uint16_t crc16(std::string_view text) {
  uint16_t crc = 0;
  for (char c : text) {
    crc = static_cast<uint16_t>(crc ^ static_cast<uint8_t>(c) << 8);
    for (int bit = 0; bit < 8; bit++) crc = static_cast<uint16_t>(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
  }
  return crc;
}

// Who has a slot: the master, then its replicas.
Result<std::vector<Address>> servers_of_slot(const Reply& slots, int64_t slot, const Address& asked) {
  std::vector<Address> out;
  for (const Reply& range : slots.items) {
    if (range.items.size() < 3 || !range.items[0].is_integer() || !range.items[1].is_integer()) continue;
    if (slot < range.items[0].integer || slot > range.items[1].integer) continue;
    for (const Reply& node : std::span(range.items).subspan(2)) {
      if (node.items.size() < 2 || !node.items[1].is_integer()) continue;
      Address address{node.items[0].text, static_cast<int>(node.items[1].integer), false};
      if (address.host.empty() || address.host == "?") address.host = asked.host;
      out.push_back(std::move(address));
    }
  }
  if (out.empty()) return fail(EIO, Fault::kUnavailable, "Redis: no member of the cluster has the volume's slot");
  return out;
}

// The value of a name in a flat list of names and values.
std::string field_of(const Reply& list, std::string_view name) {
  for (size_t i = 0; i + 1 < list.items.size(); i += 2)
    if (list.items[i].text == name) return list.items[i + 1].text;
  return {};
}

}  // namespace

std::string sha1_hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha1(), nullptr) != 1) size = 0;
  return to_hex(std::string_view(reinterpret_cast<char*>(digest), size));
}

Script::Script(std::string source) : text(std::move(source)), sha(sha1_hex(text)) {}

Error error_of(const Reply& reply) {
  std::string_view text = reply.text;
  std::string what = "Redis: " + reply.text.substr(0, 300);
  // an error inside a script comes with words of the script's around it
  auto mentions = [text](std::string_view word) { return text.find(word) != text.npos; };
  if (text.starts_with("OOM") || mentions("OOM command not allowed")) return {ENOSPC, Fault::kPlain, what};
  if (starts_with_any(text, {"WRONGPASS", "ERR invalid password", "ERR AUTH"})) return {EACCES, Fault::kPlain, what};
  if (wrong_server(text) ||
      starts_with_any(text, {"NOAUTH", "LOADING", "CLUSTERDOWN", "TRYAGAIN", "ASK", "BUSY", "NOREPLICAS", "EXECABORT",
                             "ERR max number of clients reached", "UNKILLABLE"}) ||
      mentions("Conn is in a bad state"))
    return {EIO, Fault::kUnavailable, what};
  return {EIO, Fault::kPlain, what};
}

Client::Client(Settings settings, std::vector<const Script*> scripts)
    : settings_(std::move(settings)), scripts_(std::move(scripts)) {
  for (int i = 0; i < std::max(1, settings_.pool_size) + 1; i++) slots_.push_back(std::make_unique<Slot>());
  if (settings_.mode == Mode::kSentinel || settings_.addresses.front().is_path) clustered_ = 0;
}

// The first connection that is idle, else the one with the fewest callers; another one is opened when all are busy.
Client::Slot& Client::pick(Lane lane) {
  if (lane == Lane::kBulk) return *slots_.back();
  if (lane == Lane::kOrdered) return *slots_.front();
  constexpr size_t kBusy = 8;
  Slot* best = nullptr;
  size_t fewest = SIZE_MAX;
  for (size_t i = 0; i + 1 < slots_.size(); i++) {
    std::shared_ptr<Connection> connection;
    {
      std::lock_guard lock(where_mutex_);
      connection = slots_[i]->connection;
    }
    if (!connection || connection->broken()) {
      if (!best || fewest >= kBusy) best = slots_[i].get();
      break;
    }
    size_t waiting = connection->waiting();
    if (waiting < fewest) {
      fewest = waiting;
      best = slots_[i].get();
    }
    if (waiting == 0) break;
  }
  return *best;
}

Result<std::shared_ptr<Connection>> Client::connection(Slot& slot) {
  uint64_t seen;
  {
    std::lock_guard lock(where_mutex_);
    if (slot.connection && !slot.connection->broken()) return slot.connection;
    seen = slot.attempts;
  }
  std::lock_guard connecting(slot.mutex);
  {
    std::lock_guard lock(where_mutex_);
    if (slot.connection && !slot.connection->broken()) return slot.connection;
    // another thread tried while this one waited for it: its answer is as good as a new one
    if (slot.attempts != seen) return fail(slot.last_error);
  }
  auto address = locate();
  auto opened = address ? connect(*address, true) : Result<std::shared_ptr<Connection>>(fail(address.error()));
  if (!opened) forget_server();
  if (opened) was_let_in_ = true;
  // a password that is being changed: no answer to who reads or writes a file
  if (!opened && opened.error().code == EACCES && was_let_in_)
    opened = fail(EIO, Fault::kUnavailable, std::move(opened.error().what));
  std::lock_guard lock(where_mutex_);
  slot.attempts++;
  if (opened)
    slot.connection = *opened;
  else
    slot.last_error = opened.error();
  return opened;
}

// with_data: a connection for the volume's keys, not one that only asks where they are.
Result<std::shared_ptr<Connection>> Client::connect(const Address& address, bool with_data) {
  ZEST_ASSIGN(auto stream, Stream::open(address, settings_));
  auto made = std::make_shared<Connection>(std::move(stream), settings_.read_timeout_ms, settings_.write_timeout_ms);
  Pipeline hello;
  bool sentinel = settings_.mode == Mode::kSentinel && !with_data;
  const std::string& password = sentinel ? settings_.sentinel_password : settings_.password;
  size_t auth = 0, select = 0, role = 0;
  if (!password.empty()) {
    if (settings_.user.empty() || sentinel)
      hello.add("AUTH", password);
    else
      hello.add("AUTH", settings_.user, password);
    auth = hello.commands();
  }
  if (with_data && settings_.db != 0 && clustered_ != 1) {
    hello.add("SELECT", std::to_string(settings_.db));
    select = hello.commands();
  }
  if (with_data)
    for (const Script* script : scripts_) hello.add("SCRIPT", "LOAD", script->text);
  // a replica in a cluster sends readers to its master unless told that they know
  if (with_data && clustered_ == 1 && settings_.route_read != Settings::Route::kMaster) hello.add("READONLY");
  if (!settings_.client_name.empty()) hello.add("CLIENT", "SETNAME", settings_.client_name);
  if (with_data && must_be_master()) {
    hello.add("ROLE");
    role = hello.commands();
  }
  hello.add("PING");
  count_round_trip();
  auto replies = made->exchange(hello);
  if (!replies) return fail(replies.error().code, Fault::kUnavailable, replies.error().what);
  for (size_t must : {auth, select, hello.commands()}) {
    if (must == 0 || !(*replies)[must - 1].is_error()) continue;
    Error error = error_of((*replies)[must - 1]);
    if (starts_with_any((*replies)[must - 1].text, {"NOAUTH", "NOPERM"}))
      error.code = EACCES, error.fault = Fault::kPlain;
    return fail(std::move(error));
  }
  if (role != 0 && !(*replies)[role - 1].items.empty() && (*replies)[role - 1].items[0].text != "master")
    return fail(EIO, Fault::kUnavailable, "Redis: " + address.text() + " is no master");
  return made;
}

// Sentinels, and our own search, may lag behind: a server that was the master is asked itself.
bool Client::must_be_master() const {
  return settings_.route_read == Settings::Route::kMaster && clustered_ != 1 &&
         (settings_.mode == Mode::kSentinel || settings_.addresses.size() > 1);
}

Result<Address> Client::locate() {
  {
    std::lock_guard lock(where_mutex_);
    if (where_) return *where_;
  }
  Address found;
  if (settings_.mode == Mode::kSentinel) {
    ZEST_ASSIGN(found, ask_sentinels());
  } else {
    if (clustered_ < 0) ZEST_TRY(detect_cluster());
    if (clustered_ == 1) {
      ZEST_ASSIGN(found, ask_cluster());
    } else if (settings_.addresses.size() > 1) {
      ZEST_ASSIGN(found, find_master());
    } else {
      found = settings_.addresses.front();
    }
  }
  std::lock_guard lock(where_mutex_);
  where_ = found;
  if (last_known_ && *last_known_ != found) {
    moves_++;
    give_up_connections();  // else some of them would go on with a server that is not the one any longer
  }
  last_known_ = found;
  return found;
}

// With where_mutex_ held.
void Client::give_up_connections() {
  for (auto& slot : slots_)
    if (slot->connection) slot->connection->give_up();
}

Result<void> Client::detect_cluster() {
  Error last;
  for (const auto& address : settings_.addresses) {
    auto replies = ask(address, {"CLUSTER", "INFO"});
    if (replies) {
      clustered_ = replies->text.find("cluster_state:") != std::string::npos ? 1 : 0;
      return {};
    }
    last = replies.error();
  }
  return fail(std::move(last));
}

// A question to one server, on a connection of its own.
Result<Reply> Client::ask(const Address& address, const std::vector<std::string>& question) {
  ZEST_ASSIGN(auto asked, connect(address, false));
  Pipeline pipeline;
  pipeline.add_list(question);
  count_round_trip();
  auto replies = asked->exchange(pipeline);
  if (!replies) return fail(replies.error().code, Fault::kUnavailable, std::move(replies.error().what));
  return std::move((*replies)[0]);
}

// Of servers that are no cluster, all but one are replicas: which one that is may change by hand.
Result<Address> Client::find_master() {
  Error last{EIO, Fault::kUnavailable, "Redis: none of the servers is a master"};
  for (const auto& address : settings_.addresses) {
    auto role = ask(address, {"ROLE"});
    if (!role) {
      last = role.error();
    } else if (role->is_error()) {
      last = error_of(*role);
    } else if (!role->items.empty() && role->items[0].text == "master") {
      return address;
    }
  }
  return fail(std::move(last));
}

Result<Address> Client::ask_sentinels() {
  Error last{EIO, Fault::kUnavailable, "Redis: no sentinel answered"};
  for (const auto& sentinel : settings_.addresses) {
    auto reply = ask(sentinel, {"SENTINEL", "get-master-addr-by-name", settings_.master});
    if (!reply) {
      last = reply.error();
    } else if (reply->items.size() == 2) {
      auto port = parse_int(reply->items[1].text);
      if (!port) continue;
      const Address master{reply->items[0].text, static_cast<int>(*port), false};
      if (settings_.route_read == Settings::Route::kMaster) return master;
      auto replicas = sentinel_replicas(sentinel);
      return replicas ? choose(master, std::move(*replicas)) : master;
    } else {
      last = reply->is_error()
                 ? error_of(*reply)
                 : Error{EIO, Fault::kUnavailable, "Redis: the sentinels do not know " + settings_.master};
    }
  }
  last.fault = Fault::kUnavailable;
  return fail(std::move(last));
}

// Those that are well and in step with their master.
Result<std::vector<Address>> Client::sentinel_replicas(const Address& sentinel) {
  ZEST_ASSIGN(auto replicas, ask(sentinel, {"SENTINEL", "replicas", settings_.master}));
  std::vector<Address> out;
  for (const Reply& replica : replicas.items) {
    auto port = parse_int(field_of(replica, "port"));
    if (port && field_of(replica, "flags") == "slave" && field_of(replica, "master-link-status") == "ok")
      out.push_back({field_of(replica, "ip"), static_cast<int>(*port), false});
  }
  return out;
}

// Among the servers that have the data, as route-read says.
Address Client::choose(const Address& master, std::vector<Address> replicas) {
  using Route = Settings::Route;
  if (settings_.route_read == Route::kMaster || replicas.empty()) return master;
  if (settings_.route_read != Route::kReplica) replicas.push_back(master);
  static thread_local std::minstd_rand random{std::random_device{}()};
  std::shuffle(replicas.begin(), replicas.end(), random);
  if (settings_.route_read != Route::kLatency) return replicas.front();
  Address best = master;
  int64_t least_us = INT64_MAX;
  for (const Address& server : replicas) {
    auto asked = connect(server, false);
    if (!asked) continue;
    Pipeline ping;
    ping.add("PING");
    count_round_trip();
    const auto begin = std::chrono::steady_clock::now();
    auto replies = (*asked)->exchange(ping);
    const auto us =
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count();
    if (!replies || us >= least_us) continue;
    least_us = us;
    best = server;
  }
  return best;
}

Result<Address> Client::ask_cluster() {
  Error last{EIO, Fault::kUnavailable, "Redis: no member of the cluster answered"};
  int64_t slot = crc16(std::to_string(settings_.db)) % 16384;
  for (const auto& member : settings_.addresses) {
    auto slots = ask(member, {"CLUSTER", "SLOTS"});
    if (!slots) {
      last = slots.error();
      continue;
    }
    auto servers = slots->is_error() ? Result<std::vector<Address>>(fail(error_of(*slots)))
                                     : servers_of_slot(*slots, slot, member);
    if (servers) return choose(servers->front(), {servers->begin() + 1, servers->end()});
    last = servers.error();
  }
  return fail(std::move(last));
}

void Client::forget_server() {
  std::lock_guard lock(where_mutex_);
  where_.reset();
}

// A server that has become a replica, gave its slots away, or wants to know again who we are.
void Client::note_failures(const std::vector<Reply>& replies) {
  if (std::none_of(replies.begin(), replies.end(), ends_connections)) return;
  std::lock_guard lock(where_mutex_);
  where_.reset();
  give_up_connections();
}

Result<std::vector<Reply>> Client::try_once(const Pipeline& requests, Lane lane, const std::function<void()>& queued) {
  ZEST_ASSIGN(auto used, connection(pick(lane)));
  count_round_trip();
  auto replies = used->exchange(requests, queued);
  if (replies) note_failures(*replies);
  return replies;
}

Result<std::vector<Reply>> Client::exchange(const Pipeline& requests, Repeat repeat, Lane lane,
                                            const std::function<void()>& queued) {
  for (int attempt = 0;; attempt++) {
    auto replies = try_once(requests, lane, queued);
    if (replies) return replies;
    if (replies.error().fault == Fault::kPlain) return replies;
    bool sent = replies.error().fault == Fault::kUnknownOutcome;
    if (sent) forget_server();
    if (sent && repeat == Repeat::kNever) return replies;
    if (attempt == 0 && replies.error().code != ETIMEDOUT) continue;
    return fail(replies.error().code, Fault::kUnavailable, replies.error().what);
  }
}

Result<Reply> Client::call(const std::vector<std::string>& args, Repeat repeat, Lane lane) {
  Pipeline pipeline;
  pipeline.add_list(args);
  ZEST_ASSIGN(auto replies, exchange(pipeline, repeat, lane));
  if (replies[0].is_error()) return fail(error_of(replies[0]));
  return std::move(replies[0]);
}

Result<Reply> Client::eval(const Script& script, const std::vector<std::string>& keys,
                           const std::vector<std::string>& args, Repeat repeat, Lane lane,
                           const std::function<void()>& queued) {
  Pipeline pipeline;
  auto evaluate = [&](Pipeline& to) {
    to.begin(3 + keys.size() + args.size());
    to.argument("EVALSHA");
    to.argument(script.sha);
    to.argument(std::to_string(keys.size()));
    for (const auto& key : keys) to.argument(key);
    for (const auto& arg : args) to.argument(arg);
  };
  evaluate(pipeline);
  ZEST_ASSIGN(auto replies, exchange(pipeline, repeat, lane, queued));
  if (replies[0].is_error() && replies[0].text.starts_with("NOSCRIPT")) {
    Pipeline again;
    again.add("SCRIPT", "LOAD", script.text);
    evaluate(again);
    ZEST_ASSIGN(replies, exchange(again, repeat, lane));
  }
  if (replies.back().is_error()) return fail(error_of(replies.back()));
  return std::move(replies.back());
}

Result<std::vector<Reply>> Client::atomically(const std::vector<std::vector<std::string>>& commands, Repeat repeat) {
  Pipeline pipeline;
  pipeline.add("MULTI");
  for (const auto& command : commands) pipeline.add_list(command);
  pipeline.add("EXEC");
  ZEST_ASSIGN(auto replies, exchange(pipeline, repeat));
  for (const Reply& reply : replies)
    if (reply.is_error()) return fail(error_of(reply));
  Reply& all = replies.back();
  if (!all.is_array() || all.items.size() != commands.size()) return fail(EPROTO, "Redis: unexpected reply to EXEC");
  for (const Reply& reply : all.items)
    if (reply.is_error()) return fail(error_of(reply));
  return std::move(all.items);
}

Result<std::shared_ptr<Connection>> Client::listen(const std::vector<std::string>& prefixes,
                                                   std::function<void(const Reply&)> on_push) {
  auto address = locate();
  if (!address) return fail(EIO, Fault::kUnavailable, address.error().what);
  auto opened = connect(*address, true);
  if (!opened) {
    forget_server();
    return fail(EIO, Fault::kUnavailable, opened.error().what);
  }
  (*opened)->on_push(std::move(on_push));
  Pipeline request;
  request.add("HELLO", "3");
  std::vector<std::string> tracking{"CLIENT", "TRACKING", "ON", "BCAST"};
  for (const auto& prefix : prefixes) tracking.insert(tracking.end(), {"PREFIX", prefix});
  request.add_list(tracking);
  count_round_trip();
  auto replies = (*opened)->exchange(request);
  if (!replies) return fail(EIO, Fault::kUnavailable, replies.error().what);
  for (const Reply& reply : *replies)
    if (reply.is_error()) return fail(error_of(reply));
  return opened;
}

Result<bool> Client::clustered() {
  if (clustered_ < 0) {
    auto found = detect_cluster();
    if (!found)
      return fail(found.error().code, found.error().fault == Fault::kPlain ? Fault::kPlain : Fault::kUnavailable,
                  found.error().what);
  }
  return clustered_ == 1;
}

}  // namespace zest::meta::redis
