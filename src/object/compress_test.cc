#include "object/compress.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include "base/bytes.h"
#include "object/contract.h"

namespace zest::object {
namespace {

std::string unpack(Compression method, std::string_view packed, size_t size) {
  std::string guarded(size + 16, '#');
  auto done = decompress(method, packed, std::span(guarded).first(size));
  EXPECT_EQ(guarded.substr(size), std::string(16, '#')) << "wrote behind the block";
  return done ? guarded.substr(0, size) : "error " + std::to_string(done.error().code);
}

TEST(Compress, Names) {
  EXPECT_EQ(parse_compression("").value(), Compression::kNone);
  EXPECT_EQ(parse_compression("None").value(), Compression::kNone);
  EXPECT_EQ(parse_compression("LZ4").value(), Compression::kLz4);
  EXPECT_EQ(parse_compression("zstd").value(), Compression::kZstd);
  EXPECT_EQ(code_of(parse_compression("gzip")), EINVAL);
}

TEST(Compress, BytesOfTheFormat) {
  EXPECT_EQ(to_hex(compress(Compression::kLz4, "A").value()), "1041");
  EXPECT_EQ(to_hex(compress(Compression::kZstd, "A").value()), "28b52ffd200109000041");
  EXPECT_EQ(to_hex(compress(Compression::kZstd, std::string(65536, 'x')).value().substr(0, 7)), "28b52ffd6000ff");
  EXPECT_EQ(compress_bound(Compression::kZstd, 0), 64u);
  EXPECT_EQ(compress_bound(Compression::kLz4, 65536), 65536u + 257 + 16);
}

TEST(Compress, RoundTrips) {
  for (auto method : {Compression::kNone, Compression::kLz4, Compression::kZstd})
    for (size_t size : {1, 2, 100, 4095, 65536, 300'000})
      for (bool random : {false, true}) {
        std::string plain = random ? pattern(size) : std::string(size, 'z');
        auto packed = compress(method, plain);
        ASSERT_TRUE(packed);
        EXPECT_LE(packed->size(), compress_bound(method, size));
        EXPECT_TRUE(unpack(method, *packed, size) == plain) << size;
        EXPECT_EQ(unpack(method, *packed, size + 1), "error 5") << "a block that is too short";
        EXPECT_EQ(unpack(method, *packed, size - 1), "error 5") << "a block that is too long";
        EXPECT_EQ(unpack(method, packed->substr(0, packed->size() - 1), size), "error 5") << "cut";
      }
  EXPECT_EQ(unpack(Compression::kLz4, "garbage", 100), "error 5");
  EXPECT_EQ(unpack(Compression::kZstd, "garbage", 100), "error 5");
  EXPECT_EQ(unpack(Compression::kZstd, "", 100), "error 5");
}

TEST(Compress, FramesOfOtherWriters) {
  std::string plain = pattern(50'000), packed(60'000, ' ');
  ZSTD_CCtx* ctx = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, 19);
  ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1);
  ZSTD_CCtx_setParameter(ctx, ZSTD_c_contentSizeFlag, 0);
  packed.resize(ZSTD_compress2(ctx, packed.data(), packed.size(), plain.data(), plain.size()));
  ZSTD_freeCCtx(ctx);
  EXPECT_TRUE(unpack(Compression::kZstd, packed, plain.size()) == plain);
  packed[packed.size() / 2] ^= 1;
  EXPECT_EQ(unpack(Compression::kZstd, packed, plain.size()), "error 5");
}

}  // namespace
}  // namespace zest::object
