#include "meta/engine/redis/tracking.h"

#include <algorithm>
#include <chrono>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/threads.h"

namespace zest::meta::redis {

namespace {

constexpr int64_t kLookMs = 200, kSilenceMs = 1000;  // after a silence, the server is asked for a word
constexpr int64_t kGatherMs = 2, kVerifyShare = 20;  // reading again takes at most a 20th of the time
constexpr size_t kBatch = 1000;

}  // namespace

Tracking::Tracking(Client& client, const Layout& layout, CoherentCache& cache)
    : client_(client), layout_(layout), cache_(cache), thread_([this] { run(); }) {}

Tracking::~Tracking() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    if (connection_) connection_->give_up();
  }
  stopping_.notify_all();
  thread_.join();
}

bool Tracking::pause() {
  std::unique_lock lock(mutex_);
  return !stopping_.wait_for(lock, std::chrono::milliseconds(200), [this] { return stop_; });
}

void Tracking::run() {
  name_this_thread("redis-tracking");
  do {
    const uint64_t moves = client_.moves();
    auto opened = client_.listen({layout_.key("i"), layout_.key("d")}, [this](const Reply& push) { take(push); });
    if (!opened && opened.error().fault == Fault::kPlain) {
      cache_.switch_off();
      log_warning("client-cache is off, the server cannot tell of changes: " + opened.error().what);
      return;
    }
    if (!opened) continue;
    {
      std::lock_guard lock(mutex_);
      if (stop_) return;
      connection_ = *opened;
    }
    cache_.set_live(true);
    serve(**opened, moves);
    cache_.set_live(false);
    cache_.tell();
  } while (pause());
}

// Until the connection breaks, or the data is elsewhere.
void Tracking::serve(Connection& connection, uint64_t moves) {
  const Clock& clock = system_clock();
  int64_t heard_ms = clock.monotonic_ms(), verify_from_ms = 0;
  std::vector<Key> doubtful;
  for (;;) {
    int64_t now_ms = clock.monotonic_ms();
    if (doubtful.empty()) doubtful = cache_.take_doubtful();
    int64_t wait_ms = doubtful.empty() ? kLookMs : std::max<int64_t>(kGatherMs, verify_from_ms - now_ms);
    auto heard = connection.wait_for_pushes(wait_ms);
    if (!heard || client_.moves() != moves) return;
    cache_.tell();
    now_ms = clock.monotonic_ms();
    if (*heard) heard_ms = now_ms;
    if (!doubtful.empty() && now_ms >= verify_from_ms) {
      if (!verify(connection, doubtful)) return;
      cache_.tell();
      doubtful.clear();
      heard_ms = clock.monotonic_ms();
      verify_from_ms = heard_ms + std::max(kGatherMs, (heard_ms - now_ms) * kVerifyShare);
    } else if (now_ms - heard_ms >= kSilenceMs) {
      Pipeline ping;
      ping.add("PING");
      if (!connection.exchange(ping)) return;
      heard_ms = now_ms;
    }
  }
}

// {"invalidate", [key, ...]}, or nothing in the place of the keys: all of them.
void Tracking::take(const Reply& push) {
  if (push.items.size() != 2 || push.items[0].text != "invalidate") return;
  if (!push.items[1].is_array()) return cache_.set_live(true);
  const size_t prefix = layout_.prefix().size();
  for (const Reply& key : push.items[1].items) {
    if (key.text.size() <= prefix + 1) continue;
    // keys such as "delfiles" begin with the letters, too
    auto number = parse_uint(std::string_view(key.text).substr(prefix + 1));
    if (!number) continue;
    if (key.text[prefix] == 'i') cache_.inode_invalidated(Ino{*number});
    if (key.text[prefix] == 'd') cache_.dir_invalidated(Ino{*number});
  }
}

Result<void> Tracking::verify(Connection& connection, const std::vector<Key>& keys) {
  for (size_t from = 0; from < keys.size(); from += kBatch) {
    auto batch = std::span(keys).subspan(from, std::min(kBatch, keys.size() - from));
    Pipeline reads;
    for (const Key& key : batch) reads.add_list(read_command(layout_.parts(key)[0]));
    const uint64_t since = cache_.now();
    ZEST_ASSIGN(auto replies, connection.exchange(reads));
    for (size_t i = 0; i < batch.size(); i++) {
      auto raw = read_reply(layout_.parts(batch[i])[0], replies[i]);
      auto value = raw ? decode(batch[i], std::span(&*raw, 1)) : Result<Value>(fail(raw.error()));
      cache_.verified(batch[i], value ? *value : Value{}, since);
    }
  }
  return {};
}

}  // namespace zest::meta::redis
