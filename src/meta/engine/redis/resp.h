// The wire format of Redis: requests, and a parser for replies that takes them in pieces. RESP2, and the types of
// RESP3.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace zest::meta::redis {

struct Reply {
  enum class Type : uint8_t { kNil, kStatus, kError, kInteger, kBulk, kArray, kPush };
  Type type = Type::kNil;
  int64_t integer = 0;
  std::string text;          // status, error, bulk (also doubles and big numbers, as sent)
  std::vector<Reply> items;  // arrays, sets; maps as a list of keys and values

  bool is_nil() const { return type == Type::kNil; }
  bool is_error() const { return type == Type::kError; }
  bool is_array() const { return type == Type::kArray; }
  bool is_bulk() const { return type == Type::kBulk || type == Type::kStatus; }
  bool is_integer() const { return type == Type::kInteger; }
};

// Requests of one exchange, in the form they are sent.
class Pipeline {
 public:
  template <class... Args>
  void add(const Args&... args) {
    begin(sizeof...(args));
    (argument(args), ...);
  }
  void add_list(const std::vector<std::string>& args) {
    begin(args.size());
    for (const auto& arg : args) argument(arg);
  }
  // A command built argument by argument; `args` of them must follow.
  void begin(size_t args);
  void argument(std::string_view arg);

  const std::string& bytes() const { return bytes_; }
  size_t commands() const { return commands_; }

 private:
  std::string bytes_;
  size_t commands_ = 0;
};

class ReplyParser {
 public:
  void feed(std::string_view bytes);
  // A whole reply, nothing (more bytes are needed), or EPROTO after which the stream is of no use.
  Result<std::optional<Reply>> next();

 private:
  struct Frame {
    Reply reply;
    size_t left;
  };
  enum class Step { kValue, kMore, kOpened };
  Result<Step> token(Reply& out);
  Result<Step> sized(char type, std::string_view line, size_t after_line, Reply& out);
  std::string buffer_;
  size_t at_ = 0;
  std::vector<Frame> open_;
};

}  // namespace zest::meta::redis
