// A fresh volume, clients of it and the data of its slices, on each engine; everything is counted anew at the end.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "engines.h"
#include "memory_data.h"
#include "meta/state.h"

namespace zest::meta {

// The error of a result as text, so that a failed check says what went wrong.
template <class T>
std::string why(const Result<T>& result) {
  return result ? "success" : result.error().message();
}
#define ASSERT_OK(expr)                            \
  do {                                             \
    const auto& ok_ = (expr);                      \
    ASSERT_TRUE(ok_) << #expr << ": " << why(ok_); \
  } while (0)
#define EXPECT_OK(expr)                            \
  do {                                             \
    const auto& ok_ = (expr);                      \
    EXPECT_TRUE(ok_) << #expr << ": " << why(ok_); \
  } while (0)
#define EXPECT_ERR(expr, code) EXPECT_EQ(code_of(expr), code) << #expr

inline Context user(uint32_t uid, uint32_t gid = 0) {
  Context ctx;
  ctx.uid = uid;
  ctx.gid = gid ? gid : uid;
  ctx.check_permission = true;
  return ctx;
}

// One mounted client.
class Client {
 public:
  using Wrap = std::function<std::unique_ptr<Engine>(std::unique_ptr<Engine>)>;
  Client(const std::string& url, MemoryData& data, Options options, bool session, const Wrap& wrap = {});
  ~Client();
  Meta& meta() { return *meta_; }
  Meta* operator->() { return meta_.get(); }
  State& state() { return meta_->state(); }

  // New empty file, closed.
  Ino file(std::string_view name, Ino parent = kRootIno, uint16_t mode = 0644);
  Ino dir(std::string_view name, Ino parent = kRootIno);
  // Writes through slices, one a chunk touched, in one commit.
  Result<Attr> put(Ino ino, uint64_t offset, std::string_view bytes);
  // The file's bytes [offset, offset + size) as its records show them, cut at its length. A slice that a compaction
  // removed meanwhile makes it look again.
  std::string get(Ino ino, uint64_t offset = 0, uint64_t size = UINT64_MAX);
  // As stored.
  Attr attr(Ino ino);
  std::string records(Ino ino, ChunkIndex chunk);
  int64_t refs(SliceId id, uint32_t size);  // with what an absent record stands for
  bool exists(const Key& key);
  int64_t used_space();
  // Waits for the background threads.
  void settle();

 private:
  std::optional<std::string> show(const ChunkView& view, uint64_t begin, uint64_t end);
  MemoryData& data_;
  std::unique_ptr<Meta> meta_;
};

class FilesTest : public ::testing::TestWithParam<conformance::EngineCase> {
 protected:
  void SetUp() override;
  void TearDown() override;
  // Changes the settings of the volume, before clients connect.
  void set_format(const std::function<void(Format&)>& change);
  std::unique_ptr<Client> connect(Options options = {}, bool session = true, const Client::Wrap& wrap = {});
  Client& client();  // the first one, with a session

  std::string url_;
  MemoryData data_;
  const Context root_;
  bool recount_at_end_ = true;

 private:
  std::unique_ptr<conformance::Database> database_;
  std::unique_ptr<Meta> keeper_;  // keeps a volume in memory alive
  std::unique_ptr<Client> first_;
};

inline std::string hex(std::string_view bytes) { return to_hex(bytes); }
#define FILES_ON_EVERY_ENGINE(suite)                                                        \
  INSTANTIATE_TEST_SUITE_P(, suite, testing::ValuesIn(::zest::conformance::engine_cases()), \
                           [](const auto& info) { return info.param.name; })

}  // namespace zest::meta
