#include "object/sigv4.h"

#include <gtest/gtest.h>

#include "object/http.h"

namespace zest::object {
namespace {

// The examples of the service's documentation ("Authenticating requests: using the Authorization header").
constexpr char kEmptyHash[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string signature(SignedRequest request) {
  request.headers["host"] = "examplebucket.s3.amazonaws.com";
  request.headers["x-amz-date"] = "20130524T000000Z";
  request.headers["x-amz-content-sha256"] = request.payload_hash;
  auto header = sign_v4(request, "20130524T000000Z", "us-east-1", "s3", "AKIAIOSFODNN7EXAMPLE",
                        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
  return header.substr(header.rfind('=') + 1);
}

TEST(SigV4, DocumentedExamples) {
  EXPECT_EQ(signature({"GET", "/test.txt", {}, {{"range", "bytes=0-9"}}, kEmptyHash}),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  EXPECT_EQ(signature({"GET", "/", {{"lifecycle", ""}}, {}, kEmptyHash}),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  EXPECT_EQ(signature({"GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {}, kEmptyHash}),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
  EXPECT_EQ(signature({"PUT",
                       "/test%24file.text",
                       {},
                       {{"date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
                       sha256_hex("Welcome to Amazon S3.")}),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST(SigV4, Parts) {
  EXPECT_EQ(sha256_hex(""), kEmptyHash);
  EXPECT_EQ(md5_base64(""), "1B2M2Y8AsgTpgAmY7PhCfg==");
  EXPECT_EQ(amz_date({1369353600, 5}), "20130524T000000Z");
  EXPECT_EQ(canonical_query({{"b", "x y"}, {"a", "/"}, {"a-", ""}}), "a=%2F&a-=&b=x%20y");
}

TEST(UrlCoding, BothWays) {
  EXPECT_EQ(url_encode("a b/\xc3\xa4+~"), "a%20b%2F%C3%A4%2B~");
  EXPECT_EQ(url_encode("a b/c", true), "a%20b/c");
  EXPECT_EQ(url_decode("a+b%2fc%C3%A4").value(), "a b/c\xc3\xa4");
  EXPECT_FALSE(url_decode("%4"));
  EXPECT_FALSE(url_decode("%zz"));
}

}  // namespace
}  // namespace zest::object
