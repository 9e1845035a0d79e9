// Plays random operations of one tree through the clients of a volume and compares each outcome with the model.
#pragma once

#include <random>
#include <vector>

#include "files_fixture.h"
#include "model.h"

namespace zest::history {

class Player {
 public:
  // Whatever is in `clients` takes turns at random. `top`: an empty directory that nobody else changes.
  Player(uint64_t seed, std::vector<meta::Client*> clients, Ino top, uint16_t mode);
  ~Player();
  void step();  // one operation; failures are test failures
  // Walks the tree as the database has it and compares everything.
  void compare();
  void close_all();

 private:
  struct Handle {
    NodePtr node;
    meta::Client* client;
  };
  uint64_t below(uint64_t n) { return random_() % n; }
  meta::Client& some_client() { return *clients_[below(clients_.size())]; }
  std::string some_name() { return "n" + std::to_string(below(6)); }
  Node& some_dir();
  NodePtr some_file();  // null: there is none
  uint64_t some_offset();
  std::string some_bytes();

  void make();
  void unlink();
  void rmdir();
  void rename();
  void link();
  void write();
  void truncate();
  void punch();
  void copy();
  void xattr();
  void chmod();
  void look();
  void open_or_close();
  void check_file(meta::Client& client, const Node& node);
  void check_dir(meta::Client& client, const Node& node);
  void forget_if_gone(const NodePtr& node, meta::Client& by);

  std::mt19937_64 random_;
  std::vector<meta::Client*> clients_;
  Model model_;
  const bool trash_;
  std::vector<Handle> open_;
  const meta::Context root_;
};

}  // namespace zest::history
