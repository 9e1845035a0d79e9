// The S3 store against a server that misbehaves. Against a real server: tests/s3.
#include "object/s3_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "object/crc32c.h"
#include "object/http_stub.h"
#include "object/open.h"
#include "object/retry.h"

namespace zest::object {
namespace {

using Reply = HttpStub::Reply;
using Request = HttpStub::Request;

Reply error_reply(int status, const std::string& code) {
  return {status, {"x-amz-request-id: REQ7"}, "<Error><Code>" + code + "</Code><Message>told so</Message></Error>"};
}

std::unique_ptr<Storage> store_on(const HttpStub& stub, StoreOptions options = {}, bool retries = true) {
  auto target = parse_s3_bucket(stub.url() + "/bkt", false, [](const char*) { return std::string(); });
  EXPECT_TRUE(target);
  auto store = make_s3_store(*target, {"AK", "SECRETKEY", "", false}, options, "s3");
  if (!retries) return store;
  return with_retries(std::move(store), {.retries = options.retries, .base_ms = 1, .cap_ms = 5}, system_clock());
}

// Answers the first requests as listed, later ones with `then`.
HttpStub::Handler script(std::vector<Reply> first, Reply then) {
  auto count = std::make_shared<std::atomic<size_t>>(0);
  return [=](const Request&) {
    size_t i = (*count)++;
    return i < first.size() ? first[i] : then;
  };
}

TEST(S3Store, AReadThatHangsIsAskedForASecondTime) {
  std::string body = "the body of the object";
  Reply good = {206, {"content-range: bytes 0-21/22"}, body}, silent;
  silent.silent = true;
  std::vector<Reply> first(100, good);
  first.push_back(silent);
  HttpStub stub(script(first, good));
  auto store = store_on(stub);
  for (int i = 0; i < 200; i++) {
    std::string into(22, ' ');
    auto got = store->get_into("k", 0, into);
    ASSERT_TRUE(got) << got.error().message();
    ASSERT_EQ(into, body);
  }
  auto counts = store->counts();
  EXPECT_GE(counts.hedges_won, 1u) << "without it this would have taken a minute";
  EXPECT_EQ(stub.requests().size(), 200 + counts.hedges);
  EXPECT_LE(counts.hedges, 14u);
}

TEST(S3Store, TroubleThatPassesIsHidden) {
  std::string body = "the body of the object";
  Reply good = {200, {"x-amz-meta-crc32c: " + std::to_string(crc32c(body))}, body};
  Reply cut = good, corrupt = good, reset, silent;
  cut.cut = 5;
  corrupt.body[3] ^= 1;
  reset.reset = true;
  std::vector<Reply> trouble = {
      error_reply(503, "SlowDown"),        error_reply(500, "InternalError"),  reset,        cut, corrupt,
      error_reply(429, "TooManyRequests"), error_reply(400, "RequestTimeout"), {502, {}, ""}};
  HttpStub stub(script(trouble, good));
  auto got = store_on(stub)->get("k");
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(*got, body);
  EXPECT_GE(stub.requests().size(), trouble.size() + 1);

  std::vector<Reply> put_trouble = {error_reply(503, "SlowDown"), reset, error_reply(500, "InternalError")};
  HttpStub put_stub(script(put_trouble, {200, {}, ""}));
  auto put = store_on(put_stub)->put("k", body);
  ASSERT_TRUE(put) << put.error().message();
  EXPECT_EQ(put_stub.requests().back().body, body);
}

TEST(S3Store, TroubleThatStaysIsAnErrorWithTheRequestId) {
  HttpStub stub([](const Request&) { return error_reply(503, "SlowDown"); });
  StoreOptions options;
  options.retries = 2;
  auto got = store_on(stub, options)->get("some/key");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, EIO);
  EXPECT_EQ(got.error().fault, Fault::kUnavailable);
  for (auto part : {"some/key", "SlowDown", "told so", "REQ7", "tried 3 times"})
    EXPECT_NE(got.error().what.find(part), std::string::npos) << got.error().what;
  EXPECT_EQ(got.error().what.find("SECRETKEY"), std::string::npos);
  EXPECT_EQ(stub.requests().size(), 3u);
}

TEST(S3Store, ShortAndCorruptBodiesNeverGetThrough) {
  std::string body(1000, 'b');
  Reply whole = {200, {"x-amz-meta-crc32c: 1"}, body};
  HttpStub corrupt([&](const Request&) { return whole; });
  EXPECT_EQ(code_of(store_on(corrupt, {}, false)->get("k")), EIO);

  // A ranged answer that is shorter than its own header says, and one for another range.
  HttpStub cut([&](const Request&) { return Reply{206, {"Content-Range: bytes 0-99/1000"}, body.substr(0, 50)}; });
  auto store = store_on(cut, {}, false);
  std::string buffer(100, '.');
  EXPECT_EQ(code_of(store->get("k", 0, 100)), EIO);
  EXPECT_EQ(code_of(store->get_into("k", 0, buffer)), EIO);
  EXPECT_EQ(code_of(store->get_into("k", 50, buffer)), EIO);

  Reply lost = {200, {}, body};
  lost.cut = 1;
  HttpStub closing([&](const Request&) { return lost; });
  auto got = store_on(closing, {}, false)->get("k");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().fault, Fault::kUnavailable);
}

TEST(S3Store, TheChecksumsOfAWholeBodyAreHandedOut) {
  std::string body(100'000, 'b');
  std::string header = "x-amz-meta-crc32c: " + std::to_string(crc32c(body));
  HttpStub stub([&](const Request& request) {
    if (request.headers.at("range") == "bytes=0-99999")
      return Reply{206, {"Content-Range: bytes 0-99999/100000", header}, body};
    return Reply{206, {"Content-Range: bytes 0-9/100000", header}, body.substr(0, 10)};
  });
  auto store = store_on(stub, {}, false);
  std::string buffer(body.size(), '.');
  SegmentSums sums;
  ASSERT_EQ(store->get_into("k", 0, buffer, &sums).value_or(0), body.size());
  EXPECT_EQ(sums, crc32c_segments(body));
  ASSERT_EQ(store->get_into("k", 0, std::span(buffer).first(10), &sums).value_or(0), 10u);
  EXPECT_TRUE(sums.empty()) << "nobody has computed those";
}

TEST(S3Store, ServerThatIgnoresRanges) {
  std::string body = "0123456789";
  HttpStub stub([&](const Request&) { return Reply{200, {}, body}; });
  auto store = store_on(stub, {}, false);
  EXPECT_EQ(store->get("k", 3, 4).value_or("?"), "3456");
  EXPECT_EQ(store->get("k", 8, 100).value_or("?"), "89");
  EXPECT_EQ(store->get("k", 20, 100).value_or("?"), "");
  std::string buffer(6, '.');
  EXPECT_EQ(store->get_into("k", 2, std::span(buffer).first(4)).value_or(0), 4u);
  EXPECT_EQ(buffer, "2345..");
}

TEST(S3Store, TimeoutIsKept) {
  Reply silent;
  silent.silent = true;
  HttpStub stub([&](const Request&) { return silent; });
  StoreOptions options;
  options.get_timeout_ms = options.put_timeout_ms = 1500;
  auto store = store_on(stub, options, false);
  auto got = store->get("k");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().fault, Fault::kUnavailable);
  auto put = store->put("k", "x");
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().fault, Fault::kUnknownOutcome) << "it may have been stored";
}

TEST(S3Store, NothingListens) {
  std::string url;
  {
    HttpStub stub([](const Request&) { return Reply{}; });
    url = stub.url();
  }
  auto target = parse_s3_bucket(url + "/bkt", false, [](const char*) { return std::string(); });
  auto put = make_s3_store(*target, {"a", "b", "", false}, {}, "s3")->put("k", "x");
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().fault, Fault::kUnavailable) << "nothing can have been stored";
}

TEST(S3Store, ArchivedObjectsAreAskedFor) {
  HttpStub stub(script({{202, {}, ""},
                        {200, {}, ""},
                        error_reply(409, "RestoreAlreadyInProgress"),
                        error_reply(403, "InvalidObjectState")},
                       error_reply(404, "NoSuchKey")));
  auto store = store_on(stub);
  for (bool archived : {true, true, true, false}) {
    auto asked = store->restore("k", 5);
    ASSERT_TRUE(asked) << asked.error().message();
    EXPECT_EQ(*asked, archived);
  }
  EXPECT_EQ(code_of(store->restore("k", 5)), ENOENT);
  auto request = stub.requests().at(0);
  EXPECT_EQ(request.method + " " + request.target, "POST /bkt/k?restore=");
  EXPECT_NE(request.body.find("<RestoreRequest><Days>5</Days></RestoreRequest>"), std::string::npos) << request.body;
}

TEST(S3Store, WhatARequestLooksLike) {
  HttpStub stub([](const Request&) { return Reply{200, {}, ""}; });
  StoreOptions options;
  options.storage_class = "STANDARD_IA";
  auto target = parse_s3_bucket(stub.url() + "/bkt", false, [](const char*) { return std::string(); });
  auto store = make_s3_store(*target, {"AK", "SK", "TOKEN", false}, options, "s3");
  ASSERT_TRUE(store->put("a b/c.json", "hello\n"));
  auto request = stub.requests().at(0);
  EXPECT_EQ(request.method + " " + request.target, "PUT /bkt/a%20b/c.json");
  EXPECT_EQ(request.headers["x-amz-meta-crc32c"], "893245630");
  EXPECT_EQ(request.headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
  EXPECT_EQ(request.headers["x-amz-security-token"], "TOKEN");
  EXPECT_EQ(request.headers["x-amz-storage-class"], "STANDARD_IA");
  EXPECT_EQ(request.headers["content-type"], "application/json");
  EXPECT_FALSE(request.headers.contains("expect"));
  EXPECT_EQ(request.headers["accept-encoding"], "identity");
  EXPECT_NE(request.headers["authorization"].find("Credential=AK/"), std::string::npos);
  ASSERT_TRUE(store->put("c", "x", {"GLACIER_IR", "a b=c/d"}));
  EXPECT_EQ(stub.requests().at(1).headers["x-amz-tagging"], "a%20b=c%2Fd");
  EXPECT_FALSE(request.headers.contains("x-amz-tagging"));
  EXPECT_EQ(stub.requests().at(1).headers["x-amz-storage-class"], "GLACIER_IR");
  EXPECT_EQ(stub.requests().at(1).headers["content-type"], "application/octet-stream");

  auto anonymous = make_s3_store(*target, {"", "", "", true}, {}, "s3");
  ASSERT_TRUE(anonymous->get("k"));
  request = stub.requests().at(2);
  EXPECT_FALSE(request.headers.contains("authorization"));
  EXPECT_FALSE(request.headers.contains("range"));
  EXPECT_EQ(stub.connections(), 2) << "connections are kept";
}

TEST(S3Store, ConnectionsThatDiedMeanwhileAreReplaced) {
  Reply closing = {200, {}, "body"};
  closing.close = true;
  HttpStub stub([&](const Request&) { return closing; });
  auto store = store_on(stub);
  for (int i = 0; i < 10; i++) {
    EXPECT_EQ(store->get("k").value_or("?"), "body");
    EXPECT_TRUE(store->put("k", std::string(100'000, 'x')));
  }
}

TEST(S3Store, ConnectionsAreBounded) {
  HttpStub stub([](const Request&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return Reply{200, {}, "x"};
  });
  StoreOptions options;
  options.max_connections = 2;
  auto store = store_on(stub, options, false);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; t++) threads.emplace_back([&] { EXPECT_TRUE(store->get("k")); });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(stub.requests().size(), 8u);
  EXPECT_LE(stub.most_at_once(), 2);
  EXPECT_LE(stub.connections(), 2);
}

TEST(S3Store, ErrorCodes) {
  auto code = [](int status, const std::string& name) {
    HttpStub stub([=](const Request&) { return error_reply(status, name); });
    return code_of(store_on(stub, {}, false)->put("k", "x"));
  };
  EXPECT_EQ(code(403, "AccessDenied"), EACCES);
  EXPECT_EQ(code(403, "SignatureDoesNotMatch"), EACCES);
  EXPECT_EQ(code(400, "ExpiredToken"), EACCES);
  EXPECT_EQ(code(404, "NoSuchKey"), ENOENT);
  EXPECT_EQ(code(404, "NoSuchBucket"), EIO) << "a missing bucket is no missing object";
  EXPECT_EQ(code(501, "NotImplemented"), ENOTSUP);
  EXPECT_EQ(code(507, "XMinioStorageFull"), ENOSPC);
  EXPECT_EQ(code(400, "EntityTooLarge"), EIO);
}

TEST(S3Store, ErrorInsideOfSuccess) {
  HttpStub stub([](const Request&) { return error_reply(200, "InternalError"); });
  auto store = store_on(stub, {}, false);
  EXPECT_EQ(code_of(store->copy("a", "b")), EIO);
  Part part{1, "e", 1};
  EXPECT_EQ(code_of(store->finish_multipart("a", "u", std::span(&part, 1))), EIO);
}

TEST(S3Store, BulkDelete) {
  HttpStub stub([](const Request& request) {
    if (request.method == "DELETE") return Reply{204, {}, ""};
    return Reply{200,
                 {},
                 "<DeleteResult><Error><Key>b&amp;c</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
                 "<Error><Key>gone</Key><Code>NoSuchKey</Code></Error>"
                 "<Error><Key>busy</Key><Code>SlowDown</Code></Error></DeleteResult>"};
  });
  std::vector<std::string> keys = {"a", "b&c", "gone", "busy", "control\x01"};
  auto failed = store_on(stub, {}, false)->remove_many(keys);
  ASSERT_EQ(failed.size(), 2u);
  EXPECT_EQ(failed[0].first, "b&c");
  EXPECT_EQ(failed[0].second.code, EACCES);
  EXPECT_EQ(failed[1].first, "busy");
  EXPECT_EQ(failed[1].second.fault, Fault::kUnavailable);
  EXPECT_EQ(stub.requests().at(0).target, "/bkt/control%01");
  EXPECT_EQ(stub.requests().at(1).target, "/bkt?delete=");
  EXPECT_FALSE(stub.requests().at(1).headers["content-md5"].empty());
}

TEST(S3Store, KeysThatXmlCannotHoldAreDeletedOneByOne) {
  HttpStub stub([](const Request& request) {
    return request.method == "DELETE" ? Reply{204, {}, ""} : Reply{200, {}, "<DeleteResult></DeleteResult>"};
  });
  std::vector<std::string> keys = {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82",
                                   "\xff",
                                   "a\xc3",
                                   "\xc0\xaf",
                                   "\xed\xa0\x80",
                                   "\xef\xbf\xbf",
                                   "\xf4\x90\x80\x80",
                                   "plain"};
  EXPECT_TRUE(store_on(stub, {}, false)->remove_many(keys).empty());
  auto requests = stub.requests();
  ASSERT_EQ(requests.size(), 7u);
  EXPECT_EQ(requests[0].target, "/bkt/%FF");
  EXPECT_EQ(requests[6].body, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key>" + keys[0] +
                                  "</Key></Object><Object><Key>plain</Key></Object><Quiet>true</Quiet></Delete>");
}

// Refuses what is not signed for the region and the hour; each of `together` requests has come before the first answer.
HttpStub::Handler strict(const std::string& region, const std::string& hour, const std::string& date, int together) {
  auto count = std::make_shared<std::atomic<int>>(0);
  return [=](const Request& request) {
    for (++*count; *count < together;) std::this_thread::yield();
    auto sent = request.headers;
    std::string scope = "/" + region + "/s3/";
    if (!sent["x-amz-date"].starts_with(hour))
      return Reply{403, {"Date: " + date}, "<Error><Code>RequestTimeTooSkewed</Code></Error>"};
    if (sent["authorization"].find(scope) == std::string::npos)
      return Reply{400, {}, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>" + region + "</Region></Error>"};
    return Reply{200, {}, "body"};
  };
}

TEST(S3Store, RegionAndClockOfTheServerAreTakenOver) {
  HttpStub stub(strict("eu-north-7", "20310203T04", "Mon, 03 Feb 2031 04:05:06 GMT", 4));
  auto store = store_on(stub, {}, false);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++)
    threads.emplace_back([&] {
      auto got = store->get("k");
      EXPECT_EQ(got.value_or("?"), "body") << (got ? "" : got.error().message());
    });
  for (auto& thread : threads) thread.join();
  size_t before = stub.requests().size();
  EXPECT_TRUE(store->put("k", "x"));
  EXPECT_EQ(stub.requests().size(), before + 1) << "they are remembered";

  HttpStub refusing([](const Request&) { return error_reply(403, "RequestTimeTooSkewed"); });
  EXPECT_EQ(code_of(store_on(refusing, {}, false)->get("k")), EACCES) << "no date, no second try";
  EXPECT_EQ(refusing.requests().size(), 1u);
}

TEST(S3Store, BulkDeleteWhereThereIsNone) {
  HttpStub stub([](const Request& request) {
    return request.method == "DELETE" ? Reply{204, {}, ""} : error_reply(501, "NotImplemented");
  });
  std::vector<std::string> keys = {"a", "b"};
  EXPECT_TRUE(store_on(stub, {}, false)->remove_many(keys).empty());
  EXPECT_EQ(stub.requests().size(), 3u);
}

TEST(S3Store, Listing) {
  HttpStub stub(
      script({{200,
               {},
               "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
               "<NextContinuationToken>t+1/=</NextContinuationToken>"
               "<Contents><Key>p/a+b%2Bc</Key><Size>12</Size><LastModified>2026-11-30T08:15:01.250Z</LastModified>"
               "<StorageClass>GLACIER</StorageClass></Contents></ListBucketResult>"},
              {200,
               {},
               "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>p/x%2By</Key><Size>1</Size>"
               "</Contents><CommonPrefixes><Prefix>p/dir/</Prefix></CommonPrefixes></ListBucketResult>"},
              {200, {}, "no listing at all"}},
             {200, {}, "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"}));
  auto store = store_on(stub, {}, false);
  auto page = store->list("p/", "p/a", "", 5000, "");
  ASSERT_TRUE(page) << page.error().message();
  ASSERT_EQ(page->objects.size(), 1u);
  EXPECT_EQ(page->objects[0].key, "p/a b+c");
  EXPECT_EQ(page->objects[0].size, 12u);
  EXPECT_EQ(page->objects[0].mtime, (Time{1796026501, 250'000'000}));
  EXPECT_EQ(page->objects[0].storage_class, "GLACIER");
  EXPECT_EQ(stub.requests()[0].target,
            "/bkt?delimiter=&encoding-type=url&list-type=2&max-keys=1000&prefix=p%2F&start-after=p%2Fa");
  page = store->list("p/", "", page->next, 10, "/");
  ASSERT_TRUE(page);
  EXPECT_NE(stub.requests()[1].target.find("continuation-token=t%2B1%2F%3D"), std::string::npos);
  ASSERT_EQ(page->objects.size(), 2u);
  EXPECT_EQ(page->objects[0].key, "p/dir/");
  EXPECT_EQ(page->objects[1].key, "p/x%2By") << "not decoded unless the answer says so";
  EXPECT_TRUE(page->next.empty());
  EXPECT_EQ(code_of(store->list("p/", "", "", 10)), EIO);
  EXPECT_EQ(code_of(store->list("p/", "", "", 10)), EIO);
}

}  // namespace
}  // namespace zest::object
