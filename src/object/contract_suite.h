// The tests of the contract of storages (contract.h). Included by one file of a test program.
#pragma once

#include <algorithm>
#include <thread>

#include "object/contract.h"

namespace zest::object {

TEST_P(StorageContract, PutGetHeadRemove) {
  EXPECT_EQ(code_of(store().get("a/b")), ENOENT);
  EXPECT_EQ(code_of(store().head("a/b")), ENOENT);
  put("a/b", "hello");
  auto body = store().get("a/b");
  ASSERT_TRUE(body) << body.error().message();
  EXPECT_EQ(*body, "hello");
  auto info = store().head("a/b");
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->key, "a/b");
  EXPECT_FALSE(info->is_dir);
  EXPECT_GT(info->mtime.sec, 1'600'000'000);
  if (GetParam().plain_sizes) {
    EXPECT_EQ(info->size, 5u);
  }
  ASSERT_TRUE(store().remove("a/b"));
  EXPECT_EQ(code_of(store().get("a/b")), ENOENT);
  EXPECT_EQ(code_of(store().head("a/b")), ENOENT);
  EXPECT_TRUE(store().remove("a/b")) << "removing what is not there succeeds";
  EXPECT_TRUE(store().remove("never/was/there"));
}

TEST_P(StorageContract, PutReplaces) {
  put("k", "first, and longer");
  put("k", "second");
  EXPECT_EQ(store().get("k").value(), "second");
}

TEST_P(StorageContract, EmptyAndLargeBodies) {
  put("empty", "");
  EXPECT_EQ(store().get("empty").value(), "");
  std::string body = pattern((4 << 20) + 17);
  put("large", body);
  EXPECT_TRUE(store().get("large").value() == body);
}

TEST_P(StorageContract, RangesAreClipped) {
  std::string body = pattern(1000);
  put("r", body);
  EXPECT_EQ(store().get("r", 0, 10).value(), body.substr(0, 10));
  EXPECT_EQ(store().get("r", 990, 10).value(), body.substr(990));
  EXPECT_EQ(store().get("r", 990, 100).value(), body.substr(990));
  EXPECT_EQ(store().get("r", 500).value(), body.substr(500));
  EXPECT_EQ(store().get("r", 1000, 5).value(), "");
  EXPECT_EQ(store().get("r", 5000).value(), "");
  EXPECT_EQ(store().get("r", 10, 0).value(), "");
}

TEST_P(StorageContract, GetInto) {
  std::string body = pattern(1000), buffer(1200, '.');
  put("r", body);
  EXPECT_EQ(store().get_into("r", 0, std::span(buffer).first(1000)).value(), 1000u);
  EXPECT_EQ(buffer, body + std::string(200, '.'));
  buffer.assign(1200, '.');
  EXPECT_EQ(store().get_into("r", 900, std::span(buffer)).value(), 100u);
  EXPECT_EQ(buffer.substr(0, 100), body.substr(900));
  buffer.assign(1200, '.');
  EXPECT_EQ(store().get_into("r", 100, std::span(buffer).first(50)).value(), 50u);
  EXPECT_EQ(buffer, body.substr(100, 50) + std::string(1150, '.'));
  EXPECT_EQ(store().get_into("r", 1000, std::span(buffer)).value(), 0u);
  EXPECT_EQ(code_of(store().get_into("none", 0, std::span(buffer))), ENOENT);
}

TEST_P(StorageContract, Copy) {
  put("src", "body");
  ASSERT_TRUE(store().copy("dst/x", "src"));
  EXPECT_EQ(store().get("dst/x").value(), "body");
  EXPECT_EQ(store().get("src").value(), "body");
  EXPECT_EQ(code_of(store().copy("other", "missing")), ENOENT);
}

TEST_P(StorageContract, ListInByteOrder) {
  // '-' < '.' < '/' < '0': a folder's keys stand between those of its neighbours.
  Keys all = {"l/a-b", "l/a.b", "l/a/1", "l/a/2", "l/a/b/c", "l/a0", "l/b", "l/z/y/x"};
  if (!GetParam().strict_order) all[0] = "l/A-b", all[1] = "l/A.b";
  for (size_t i = all.size(); i-- > 0;) put(all[i], "x");
  put("k", "before");
  put("m", "behind");
  EXPECT_EQ(keys("l/"), all);
  EXPECT_EQ(keys("l/a"), Keys(all.begin() + (GetParam().strict_order ? 0 : 2), all.begin() + 6));
  EXPECT_EQ(keys("l/a/"), Keys(all.begin() + 2, all.begin() + 5));
  EXPECT_EQ(keys("l/none"), Keys());
  for (size_t limit : {1u, 2u, 3u, 7u, 8u}) EXPECT_EQ(keys("l/", {}, limit), all) << limit;
  for (size_t i = 0; i < all.size(); i++)
    EXPECT_EQ(keys("l/", all[i], 3), Keys(all.begin() + static_cast<long>(i) + 1, all.end())) << all[i];
  EXPECT_EQ(keys("l/", "l/a/1zzz"), Keys(all.begin() + 3, all.end()));
  EXPECT_EQ(keys("l/", "zzz"), Keys());
}

TEST_P(StorageContract, ListFolded) {
  std::string dash = GetParam().strict_order ? "f/a-b" : "f/A-b";
  for (auto key : {dash.c_str(), "f/a/1", "f/a/b/c", "f/a0", "f/z/y/x"}) put(key, "x");
  Keys top = {dash, "f/a/", "f/a0", "f/z/"};
  EXPECT_EQ(keys("f/", {}, 1000, "/"), top);
  for (size_t limit : {1u, 2u, 3u, 4u}) EXPECT_EQ(keys("f/", {}, limit, "/"), top) << limit;
  EXPECT_EQ(keys("f/a/", {}, 1000, "/"), (Keys{"f/a/1", "f/a/b/"}));
  if (GetParam().strict_order) {
    EXPECT_EQ(keys("f/a", {}, 1000, "/"), (Keys{"f/a-b", "f/a/", "f/a0"}));
  }
  EXPECT_EQ(keys("f/", "f/a/", 1000, "/"), (Keys{"f/a0", "f/z/"}));
}

TEST_P(StorageContract, ListAll) {
  Keys expected;
  for (int i = 0; i < 25; i++) {
    expected.push_back("all/" + std::to_string(1000 + i));
    put(expected.back(), std::string(static_cast<size_t>(i), 'x'));
  }
  Keys found;
  uint64_t sizes = 0;
  auto collect = [&](const ObjectInfo& object) {
    found.push_back(object.key);
    sizes += object.size;
    return true;
  };
  ASSERT_TRUE(list_all(store(), "all/", collect));
  EXPECT_EQ(found, expected);
  if (GetParam().plain_sizes) {
    EXPECT_EQ(sizes, 24u * 25 / 2);
  }
  found.clear();
  ASSERT_TRUE(list_all(store(), "all/", collect, expected[9]));
  EXPECT_EQ(found, std::vector(expected.begin() + 10, expected.end()));
  int seen = 0;
  ASSERT_TRUE(list_all(store(), "all/", [&](const ObjectInfo&) { return ++seen < 3; }));
  EXPECT_EQ(seen, 3);
}

TEST_P(StorageContract, RemoveMany) {
  Keys some = {"rm/1", "rm/2", "rm/x y+z&<>", "rm/not there"};
  for (int i = 0; i < 3; i++) put(some[static_cast<size_t>(i)], "x");
  put("rm/stays", "x");
  EXPECT_TRUE(store().remove_many(some).empty());
  EXPECT_EQ(keys("rm/"), Keys{"rm/stays"});
  EXPECT_TRUE(store().remove_many({}).empty());
}

TEST_P(StorageContract, UnusualKeys) {
  Keys odd = {"odd/ space",     "odd/%41", "odd/&amp;<x>", "odd/+plus", "odd/=?#", "odd/\xc3\xa4\xe2\x82\xac",
              "odd/~tilde'!*()"};
  std::sort(odd.begin(), odd.end());
  for (const auto& key : odd) put(key, key);
  EXPECT_EQ(keys("odd/"), odd);
  EXPECT_EQ(keys("odd/", {}, 2), odd);
  for (const auto& key : odd) {
    EXPECT_EQ(store().get(key).value_or("?"), key);
    EXPECT_TRUE(store().head(key)) << key;
    EXPECT_TRUE(store().copy(key + ".copy", key)) << key;
    EXPECT_TRUE(store().remove(key)) << key;
    EXPECT_EQ(code_of(store().get(key)), ENOENT);
  }
}

TEST_P(StorageContract, BadKeysAreRefused) { EXPECT_EQ(code_of(store().put("", "x")), EINVAL); }

TEST_P(StorageContract, Multipart) {
  if (!store().limits().multipart) {
    EXPECT_EQ(code_of(store().start_multipart("mp")), ENOTSUP);
    return;
  }
  std::string first = pattern(std::max<uint64_t>(store().limits().min_part, 1 << 20)), second = pattern(1234, 7);
  auto upload = store().start_multipart("mp/big");
  ASSERT_TRUE(upload) << upload.error().message();
  std::vector<Part> parts;
  for (int number : {2, 1}) {
    auto part = store().put_part("mp/big", *upload, number, number == 1 ? first : second);
    ASSERT_TRUE(part) << part.error().message();
    EXPECT_EQ(part->number, number);
    parts.insert(parts.begin(), *part);
  }
  EXPECT_EQ(code_of(store().get("mp/big")), ENOENT);
  auto done = store().finish_multipart("mp/big", *upload, parts);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_TRUE(store().get("mp/big").value() == first + second);
  upload = store().start_multipart("mp/aborted");
  ASSERT_TRUE(upload);
  ASSERT_TRUE(store().put_part("mp/aborted", *upload, 1, second));
  ASSERT_TRUE(store().abort_multipart("mp/aborted", *upload));
  EXPECT_EQ(code_of(store().get("mp/aborted")), ENOENT);
}

TEST_P(StorageContract, ReadersSeeOldOrNewBody) {
  std::string old_body(100'000, 'o'), new_body(120'000, 'n');
  put("race", old_body);
  std::thread writer([&] {
    for (int i = 0; i < 10; i++) EXPECT_TRUE(store().put("race", i % 2 ? old_body : new_body));
  });
  for (int i = 0; i < 30; i++) {
    auto body = store().get("race");
    EXPECT_TRUE(body && (*body == old_body || *body == new_body)) << (body ? "torn" : body.error().message());
  }
  writer.join();
}

TEST_P(StorageContract, ManyThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; i++) {
        std::string key = "mt/" + std::to_string(t) + "/" + std::to_string(i),
                    body = pattern(2000, static_cast<uint32_t>(t * 100 + i));
        EXPECT_TRUE(store().put(key, body));
        EXPECT_EQ(store().get(key).value_or(""), body);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(keys("mt/").size(), 40u);
}

}  // namespace zest::object
