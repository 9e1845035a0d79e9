#include "meta/engine/redis/client.h"

#include <gtest/gtest.h>

namespace zest::meta::redis {
namespace {

Error error_for(const char* text) {
  Reply reply;
  reply.type = Reply::Type::kError;
  reply.text = text;
  return error_of(reply);
}

TEST(RedisErrors, WhatTheServerIsNotReadyForIsTriedAgain) {
  for (const char* text : {
           "LOADING Redis is loading the dataset in memory",
           "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
           "READONLY You can't write against a read only replica.",
           "ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write against a read only "
           "replica.",
           "MOVED 3999 127.0.0.1:6381",
           "ASK 3999 127.0.0.1:6381",
           "TRYAGAIN Multiple keys request during rehashing of slot",
           "CLUSTERDOWN The cluster is down",
           "NOREPLICAS Not enough good replicas to write.",
           "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
           "EXECABORT Transaction discarded because of previous errors.",
           "NOAUTH Authentication required.",
           "ERR max number of clients reached",
       }) {
    Error error = error_for(text);
    EXPECT_EQ(error.fault, Fault::kUnavailable) << text;
    EXPECT_EQ(error.code, EIO) << text;
  }
}

TEST(RedisErrors, WhatWillNotPassIsAnAnswer) {
  struct {
    const char* text;
    int code;
  } cases[] = {
      {"OOM command not allowed when used memory > 'maxmemory'.", ENOSPC},
      {"ERR Error running script (call to f_1): -OOM command not allowed when used memory > 'maxmemory'.", ENOSPC},
      {"WRONGPASS invalid username-password pair or user is disabled.", EACCES},
      {"NOPERM this user has no permissions to run the 'evalsha' command", EIO},  // of whom applications know nothing
      {"WRONGTYPE Operation against a key holding the wrong kind of value", EIO},
  };
  for (const auto& [text, code] : cases) {
    Error error = error_for(text);
    EXPECT_EQ(error.fault, Fault::kPlain) << text;
    EXPECT_EQ(error.code, code) << text;
    EXPECT_NE(error.what.find(text), std::string::npos) << "the log needs it";
  }
}

}  // namespace
}  // namespace zest::meta::redis
