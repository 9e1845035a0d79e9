// One signed request to a bucket: builds it, sends it, turns answers that are failures into errors.
#pragma once

#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "object/http.h"
#include "object/s3_target.h"
#include "object/s3_xml.h"

namespace zest::object {

struct S3Call {
  std::string method = "GET", key;  // an empty key: the bucket itself
  std::vector<std::pair<std::string, std::string>> query;
  std::vector<std::pair<std::string, std::string>> headers;  // lower-case names; all are signed
  std::string_view body;
  std::optional<std::span<char>> into;
  uint64_t skip_if_whole = 0, keep = UINT64_MAX;
  bool past_end_is_fine = false;  // 416 is an answer, not an error
  int timeout_ms = 60'000;
  Cancel* cancel = nullptr;
};

class S3Client {
 public:
  S3Client(S3Target target, S3Credentials credentials, int max_connections);

  // Answers 2xx; everything else is an error. 200 with an error document in it, as copy and finishing an upload may
  // give, is one too.
  Result<HttpResponse> call(const S3Call& call);
  const S3Target& target() const { return target_; }
  std::string region() const;
  // "GET s3://bucket/key": how errors begin.
  std::string name(const S3Call& call) const;

 private:
  // What a request is signed with, beside the credentials.
  struct Signing {
    std::string region;
    int64_t ahead_s = 0;  // of the server's clock
  };
  Result<HttpResponse> send(const S3Call& call, const Signing& signing);
  // True when the answer says that the bucket is in another region, or the server's clock another one, than the request
  // was signed with; later ones are signed with what it says.
  bool follow_region(const HttpResponse& response, const S3ErrorBody& body, const Signing& used);
  bool follow_clock(const HttpResponse& response, const S3ErrorBody& body, const Signing& used);

  const S3Target target_;
  const S3Credentials credentials_;
  mutable std::mutex mutex_;
  Signing signing_;  // guarded by mutex_
  HttpClient http_;
};

// Code and fault of an answer that is a failure.
Error s3_error(int status, const S3ErrorBody& body);

}  // namespace zest::object
