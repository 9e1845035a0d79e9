// Random histories. A seed stands for a history: set ZEST_SEED to play one again; a failure names it.
#include <cstdlib>
#include <thread>

#include "player.h"

namespace zest::meta {
namespace {

using history::Player;

std::vector<uint64_t> seeds() {
  if (const char* given = std::getenv("ZEST_SEED")) return {std::strtoull(given, nullptr, 0)};
  return {1, 2, 3};
}

class History : public FilesTest {
 protected:
  std::vector<std::unique_ptr<Client>> connect_all(size_t count) {
    std::vector<std::unique_ptr<Client>> out;
    for (size_t i = 0; i < count; i++) out.push_back(connect());
    return out;
  }
  void leave_all(std::vector<std::unique_ptr<Client>>& clients) {
    for (auto& client : clients) {
      EXPECT_OK((*client)->flush_ledgers());
      client->settle();
    }
    clients.clear();
  }
};
FILES_ON_EVERY_ENGINE(History);

// One operation at a time, each by another client: every outcome is checked against the model.
TEST_P(History, clients_taking_turns) {
  for (uint64_t seed : seeds()) {
    SCOPED_TRACE("ZEST_SEED=" + std::to_string(seed));
    for (int trash_days : {0, 1}) {
      set_format([&](Format& format) { format.trash_days = trash_days; });
      auto clients = connect_all(trash_days ? 2 : 4);
      Ino top = clients[0]->dir("turns" + std::to_string(seed) + "-" + std::to_string(trash_days));
      std::vector<Client*> all;
      for (auto& client : clients) all.push_back(client.get());
      Player player(seed, all, top, 0755);
      for (int i = 0; i < 300 && !HasFailure(); i++) {
        SCOPED_TRACE("step " + std::to_string(i));
        player.step();
      }
      player.close_all();
      if (!HasFailure()) player.compare();
      leave_all(clients);
      if (HasFailure()) return;
    }
  }
}

// Operations in a directory that all clients change at once: nobody knows the outcome, but only some errors are right.
void scramble(Client& client, Ino shared, std::mt19937_64& random) {
  const Context root;
  auto name = [&] { return "s" + std::to_string(random() % 5); };
  std::string first = name(), second = name();
  auto file = client->lookup(root, shared, name());
  int code = 0;
  switch (random() % 8) {
    case 0: code = code_of(client->mknod(root, shared, first, FileType::kFile, 0644, 0, 0)); break;
    case 1: code = code_of(client->mkdir(root, shared, first, 0755, 0)); break;
    case 2: code = code_of(client->unlink(root, shared, first)); break;
    case 3: code = code_of(client->rmdir(root, shared, first)); break;
    case 4: code = code_of(client->rename(root, shared, first, shared, second, random() % 3)); break;
    case 5: code = file ? code_of(client->link(root, file->ino, shared, first)) : 0; break;
    case 6: code = file ? code_of(client.put(file->ino, random() % 20000, std::string(3000, 'x'))) : 0; break;
    case 7: code = file ? code_of(client->truncate(root, file->ino, random() % 20000, false)) : 0; break;
  }
  static const std::set<int> right{0, ENOENT, EEXIST, EPERM, ENOTDIR, EISDIR, ENOTEMPTY};
  EXPECT_TRUE(right.contains(code)) << "errno " << code;
}

void all_at_once(const std::vector<std::unique_ptr<Client>>& clients, uint64_t seed, int steps) {
  Ino shared = clients[0]->dir("shared" + std::to_string(seed));
  std::vector<Ino> tops;
  for (size_t i = 0; i < clients.size(); i++)
    tops.push_back(clients[0]->dir("own" + std::to_string(seed) + "-" + std::to_string(i)));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < clients.size(); i++) {
    threads.emplace_back([&, i] {
      SCOPED_TRACE("client " + std::to_string(i));
      uint64_t own_seed = seed * 1000 + i;
      Player player(own_seed, {clients[i].get()}, tops[i], 0755);
      std::mt19937_64 random(own_seed);
      for (int step = 0; step < steps && !::testing::Test::HasFailure(); step++) {
        player.step();
        if (random() % 3 == 0) scramble(*clients[i], shared, random);
      }
      player.close_all();
      if (!::testing::Test::HasFailure()) player.compare();
    });
  }
  for (auto& thread : threads) thread.join();
}

// Each client in a tree of its own, checked against a model, and all of them in one directory; everything is counted
// at the end.
TEST_P(History, two_clients_at_once) {
  for (uint64_t seed : seeds()) {
    SCOPED_TRACE("ZEST_SEED=" + std::to_string(seed));
    set_format([&](Format& format) { format.trash_days = static_cast<int>(seed % 2); });
    auto clients = connect_all(2);
    all_at_once(clients, seed, 200);
    leave_all(clients);
    if (HasFailure()) return;
  }
}

TEST_P(History, four_clients_at_once) {
  uint64_t seed = seeds().back();
  SCOPED_TRACE("ZEST_SEED=" + std::to_string(seed));
  auto clients = connect_all(4);
  all_at_once(clients, seed, 150);
  leave_all(clients);
}

}  // namespace
}  // namespace zest::meta
