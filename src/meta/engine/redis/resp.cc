#include "meta/engine/redis/resp.h"

#include "base/bytes.h"

namespace zest::meta::redis {

namespace {

constexpr int64_t kMaxBulk = int64_t{512} << 20;
constexpr int64_t kMaxItems = int64_t{1} << 26;
constexpr size_t kMaxDepth = 16;
constexpr size_t kMaxLine = 64 << 10;

std::unexpected<Error> malformed() { return fail(EPROTO, "malformed reply from Redis"); }

}  // namespace

void Pipeline::begin(size_t args) {
  bytes_ += '*';
  bytes_ += std::to_string(args);
  bytes_ += "\r\n";
  commands_++;
}

void Pipeline::argument(std::string_view arg) {
  bytes_ += '$';
  bytes_ += std::to_string(arg.size());
  bytes_ += "\r\n";
  bytes_ += arg;
  bytes_ += "\r\n";
}

void ReplyParser::feed(std::string_view bytes) {
  if (at_ > 0 && (at_ == buffer_.size() || at_ > (1u << 16))) {
    buffer_.erase(0, at_);
    at_ = 0;
  }
  buffer_ += bytes;
}

// Bulk strings and containers: what their length line announces.
Result<ReplyParser::Step> ReplyParser::sized(char type, std::string_view line, size_t after_line, Reply& out) {
  auto size = parse_int(line);
  bool bulk = type == '$' || type == '=' || type == '!';
  if (!size || *size < -1 || *size > (bulk ? kMaxBulk : kMaxItems)) return malformed();
  if (*size < 0) {
    at_ = after_line;
    out.type = Reply::Type::kNil;
    return Step::kValue;
  }
  auto n = static_cast<size_t>(*size);
  if (bulk) {
    if (buffer_.size() < after_line + n + 2) return Step::kMore;
    if (buffer_[after_line + n] != '\r' || buffer_[after_line + n + 1] != '\n') return malformed();
    size_t skip = type == '=' && n >= 4 ? 4 : 0;  // "txt:" of a verbatim string
    out.type = type == '!' ? Reply::Type::kError : Reply::Type::kBulk;
    out.text.assign(buffer_, after_line + skip, n - skip);
    at_ = after_line + n + 2;
    return Step::kValue;
  }
  at_ = after_line;
  out.type = type == '>' ? Reply::Type::kPush : Reply::Type::kArray;
  if (type == '%') n *= 2;
  if (n == 0) return Step::kValue;
  if (open_.size() >= kMaxDepth) return malformed();
  out.items.reserve(std::min<size_t>(n, 1024));
  open_.push_back({std::move(out), n});
  return Step::kOpened;
}

// One value from the buffer, or the beginning of a container.
Result<ReplyParser::Step> ReplyParser::token(Reply& out) {
  size_t end = buffer_.find("\r\n", at_);
  if (end == std::string::npos) {
    if (buffer_.size() - at_ > kMaxLine) return malformed();
    return Step::kMore;
  }
  if (end == at_) return malformed();
  char type = buffer_[at_];
  std::string_view line(buffer_.data() + at_ + 1, end - at_ - 1);
  switch (type) {
    case '$':
    case '=':
    case '!':
    case '*':
    case '~':
    case '%':
    case '>': return sized(type, line, end + 2, out);
    case '+': out.type = Reply::Type::kStatus; break;
    case '-': out.type = Reply::Type::kError; break;
    case ',':
    case '(': out.type = Reply::Type::kBulk; break;
    case '_': out.type = Reply::Type::kNil; break;
    case '#':
    case ':': {
      auto value = type == '#' ? std::optional<int64_t>(line == "t") : parse_int(line);
      if (!value) return malformed();
      out.type = Reply::Type::kInteger;
      out.integer = *value;
      at_ = end + 2;
      return Step::kValue;
    }
    default: return malformed();
  }
  out.text = line;
  at_ = end + 2;
  return Step::kValue;
}

Result<std::optional<Reply>> ReplyParser::next() {
  for (;;) {
    Reply value;
    ZEST_ASSIGN(Step step, token(value));
    if (step == Step::kMore) return std::optional<Reply>();
    if (step == Step::kOpened) continue;
    // the value may complete the container it stands in, and that the next one
    for (;;) {
      if (open_.empty()) return std::optional<Reply>(std::move(value));
      Frame& frame = open_.back();
      frame.reply.items.push_back(std::move(value));
      if (--frame.left > 0) break;
      value = std::move(frame.reply);
      open_.pop_back();
    }
  }
}

}  // namespace zest::meta::redis
