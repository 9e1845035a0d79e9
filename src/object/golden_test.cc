// Objects that the reference wrote: tests/golden/*.tar.gz.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "object/compress.h"
#include "object/open.h"
#include "object/test_dir.h"

namespace zest::object {
namespace {

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Golden {
  TestDir dir;
  Format format;
  std::unique_ptr<Storage> store;

  // Unpacks the bucket of a volume and opens it.
  Golden(const std::string& name, const std::string& algorithm) {
    std::string archive = std::string(ZEST_SOURCE_DIR) + "/tests/golden/" + name + ".tar.gz";
    std::string command = "tar xzf '" + archive + "' -C '" + dir.path() + "'";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    format.name = "golden-" + name;
    format.bucket = dir.path() + "/" + name + "/bucket/";
    if (!algorithm.empty()) {
      format.encrypt_key = slurp(dir.path() + "/" + name + "/key.pem");
      format.encrypt_algo = algorithm;
    }
    auto opened = open_volume_store(format, {}, "golden-pass");
    EXPECT_TRUE(opened) << opened.error().message();
    if (opened) store = std::move(*opened);
  }

  // Decodes every block; the number of them.
  int decode_all(Compression method) {
    int blocks = 0;
    auto listed = list_all(*store, "chunks/", [&](const ObjectInfo& object) {
      size_t size = std::stoul(object.key.substr(object.key.rfind('_') + 1));
      auto body = store->get(object.key);
      EXPECT_TRUE(body) << body.error().message();
      if (!body) return false;
      std::string plain(size, '?');
      auto done = decompress(method, *body, plain);
      EXPECT_TRUE(done) << object.key << ": " << done.error().message();
      // What was compressed comes out the same when it goes through once more.
      std::string again(size, '?');
      EXPECT_TRUE(decompress(method, compress(method, plain).value(), again));
      EXPECT_TRUE(again == plain) << object.key;
      blocks++;
      return true;
    });
    EXPECT_TRUE(listed) << listed.error().message();
    return blocks;
  }
};

TEST(Golden, AesWithCompression) {
  Golden golden("sqlite-aes", "aes256gcm-rsa");
  ASSERT_TRUE(golden.store);
  EXPECT_EQ(golden.store->get("juicefs_uuid").value().size(), 36u);
  EXPECT_GT(golden.decode_all(Compression::kLz4), 50);
}

TEST(Golden, ChachaWithCompression) {
  Golden golden("sqlite-chacha", "chacha20-rsa");
  ASSERT_TRUE(golden.store);
  EXPECT_EQ(golden.store->get("juicefs_uuid").value().size(), 36u);
  EXPECT_GT(golden.decode_all(Compression::kZstd), 50);
}

TEST(Golden, Lz4) {
  Golden golden("sqlite-lz4", "");
  ASSERT_TRUE(golden.store);
  EXPECT_GT(golden.decode_all(Compression::kLz4), 50);
}

TEST(Golden, Zstd) {
  Golden golden("sqlite-zstd", "");
  ASSERT_TRUE(golden.store);
  EXPECT_GT(golden.decode_all(Compression::kZstd), 50);
}

TEST(Golden, PlainBlocksHaveTheSizeOfTheirKey) {
  Golden golden("sqlite-plain", "");
  ASSERT_TRUE(golden.store);
  EXPECT_GT(golden.decode_all(Compression::kNone), 50);
}

}  // namespace
}  // namespace zest::object
