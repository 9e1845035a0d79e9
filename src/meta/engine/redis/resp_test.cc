#include "meta/engine/redis/resp.h"

#include <gtest/gtest.h>

namespace zest::meta::redis {
namespace {

Reply parse(std::string_view bytes) {
  ReplyParser parser;
  parser.feed(bytes);
  auto reply = parser.next();
  EXPECT_TRUE(reply && *reply) << bytes;
  return reply && *reply ? std::move(**reply) : Reply{};
}

TEST(Resp, Requests) {
  Pipeline p;
  p.add("GET", std::string("a\r\nb"));
  p.add_list({"SET", "k", ""});
  EXPECT_EQ(p.bytes(), "*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
  EXPECT_EQ(p.commands(), 2u);
}

TEST(Resp, EveryType) {
  EXPECT_EQ(parse("+OK\r\n").text, "OK");
  EXPECT_TRUE(parse("-ERR no\r\n").is_error());
  EXPECT_EQ(parse(":-12\r\n").integer, -12);
  EXPECT_EQ(parse("$5\r\na\r\nbc\r\n").text, "a\r\nbc");
  EXPECT_TRUE(parse("$0\r\n\r\n").is_bulk());
  EXPECT_TRUE(parse("$-1\r\n").is_nil());
  EXPECT_TRUE(parse("*-1\r\n").is_nil());
  EXPECT_TRUE(parse("*0\r\n").is_array());
  EXPECT_TRUE(parse("_\r\n").is_nil());
  EXPECT_EQ(parse("#t\r\n").integer, 1);
  EXPECT_EQ(parse(",1.5\r\n").text, "1.5");
  EXPECT_EQ(parse("=7\r\ntxt:abc\r\n").text, "abc");
  EXPECT_EQ(parse("!7\r\nERR bad\r\n").text, "ERR bad");
  EXPECT_EQ(parse("%1\r\n+a\r\n:1\r\n").items.size(), 2u);
  EXPECT_EQ(parse(">2\r\n+a\r\n+b\r\n").type, Reply::Type::kPush);
}

TEST(Resp, NestedAndByteByByte) {
  std::string bytes = "*3\r\n$1\r\n0\r\n*2\r\n*0\r\n$-1\r\n*1\r\n:7\r\n+next\r\n";
  ReplyParser parser;
  std::vector<Reply> out;
  for (char c : bytes) {
    parser.feed(std::string_view(&c, 1));
    auto reply = parser.next();
    ASSERT_TRUE(reply);
    if (*reply) out.push_back(std::move(**reply));
  }
  ASSERT_EQ(out.size(), 2u);
  ASSERT_EQ(out[0].items.size(), 3u);
  EXPECT_EQ(out[0].items[1].items.size(), 2u);
  EXPECT_EQ(out[0].items[2].items[0].integer, 7);
  EXPECT_EQ(out[1].text, "next");
}

TEST(Resp, MalformedRepliesEndTheStream) {
  for (const char* bad :
       {"?\r\n", "\r\n", ":x\r\n", "$-2\r\n", "$9999999999\r\n", "*99999999999\r\n", "$1\r\nabc\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
        "*1\r\n"}) {
    ReplyParser parser;
    parser.feed(bad);
    EXPECT_FALSE(parser.next()) << bad;
  }
}

}  // namespace
}  // namespace zest::meta::redis
