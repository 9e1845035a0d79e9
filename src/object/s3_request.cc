#include "object/s3_request.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/clock.h"
#include "base/log.h"
#include "object/sigv4.h"

namespace zest::object {
namespace {

constexpr char kUnsigned[] = "UNSIGNED-PAYLOAD";
constexpr int64_t kClockMatters = 60;  // seconds; servers refuse what is 15 minutes off

template <size_t N>
bool is_one_of(std::string_view code, const std::array<std::string_view, N>& codes) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

}  // namespace

Error s3_error(int status, const S3ErrorBody& body) {
  // Codes that pass whatever status they come with.
  constexpr std::array<std::string_view, 11> kPassing = {
      "SlowDown",         "ServiceUnavailable", "InternalError",       "RequestTimeout",
      "Throttling",       "BadDigest",          "ThrottlingException", "RequestLimitExceeded",
      "OperationAborted", "TooManyRequests",    "IncompleteBody"};
  constexpr std::array<std::string_view, 2> kMissing = {"NoSuchKey", "NoSuchUpload"};
  constexpr std::array<std::string_view, 6> kRefused = {"ExpiredToken",          "InvalidToken",
                                                        "TokenRefreshRequired",  "InvalidAccessKeyId",
                                                        "SignatureDoesNotMatch", "AccessDenied"};
  constexpr std::array<std::string_view, 3> kFull = {"InsufficientStorage", "XMinioStorageFull", "QuotaExceeded"};
  Error error;
  error.what = std::to_string(status);
  if (!body.code.empty()) error.what += " " + body.code;
  if (!body.message.empty()) error.what += ": " + body.message;
  if (is_one_of(body.code, kMissing) || (status == 404 && body.code.empty()))
    error.code = ENOENT;
  else if (is_one_of(body.code, kFull) || status == 507)
    error.code = ENOSPC;
  else if (is_one_of(body.code, kRefused) || status == 401 || status == 403)
    error.code = EACCES;
  else if (status == 501 || body.code == "NotImplemented" || status == 405)
    error.code = ENOTSUP;
  else if (is_one_of(body.code, kPassing) || status == 408 || status == 429 || status >= 500)
    error.fault = Fault::kUnavailable;
  return error;
}

S3Client::S3Client(S3Target target, S3Credentials credentials, int max_connections)
    : target_(std::move(target)),
      credentials_(std::move(credentials)),
      signing_{target_.region, 0},
      http_(max_connections, target_.tls) {}

std::string S3Client::region() const {
  std::lock_guard lock(mutex_);
  return signing_.region;
}

std::string S3Client::name(const S3Call& call) const {
  return call.method + " s3://" + target_.bucket + "/" + call.key;
}

Result<HttpResponse> S3Client::send(const S3Call& call, const Signing& signing) {
  S3Target target = target_;
  target.region = signing.region;
  SignedRequest to_sign;
  to_sign.method = call.method;
  to_sign.path = target.base_path() + url_encode(call.key, true);
  if (call.key.empty() && target.path_style) to_sign.path.pop_back();
  to_sign.query = call.query;
  to_sign.payload_hash = kUnsigned;
  Time now = system_clock().now();
  now.sec += signing.ahead_s;
  std::string host = target.host(), date = amz_date(now);
  to_sign.headers["host"] = host;
  for (const auto& [name, value] : call.headers) to_sign.headers[name] = value;
  if (!credentials_.anonymous) {
    to_sign.headers["x-amz-date"] = date;
    to_sign.headers["x-amz-content-sha256"] = kUnsigned;
    if (!credentials_.session_token.empty()) to_sign.headers["x-amz-security-token"] = credentials_.session_token;
  }
  HttpRequest request;
  request.method = call.method;
  request.url = target.scheme + "://" + host + to_sign.path;
  if (!call.query.empty()) request.url += "?" + canonical_query(call.query);
  for (const auto& [name, value] : to_sign.headers)
    if (name != "host") request.headers.push_back(value.empty() ? name + ";" : name + ": " + value);
  if (!credentials_.anonymous)
    request.headers.push_back("Authorization: " + sign_v4(to_sign, date, target.region, "s3", credentials_.access_key,
                                                          credentials_.secret_key));
  // Without one, libcurl would call a body a form.
  if (!to_sign.headers.contains("content-type")) request.headers.push_back("Content-Type:");
  request.body = call.body;
  request.timeout_ms = call.timeout_ms;
  request.into = call.into;
  request.skip_if_whole = call.skip_if_whole;
  request.keep = call.keep;
  request.cancel = call.cancel;
  return http_.send(request);
}

bool S3Client::follow_region(const HttpResponse& response, const S3ErrorBody& body, const Signing& used) {
  if (response.status != 301 && response.status != 307 && response.status != 400) return false;
  std::string right = response.header("x-amz-bucket-region");
  if (right.empty()) right = body.region;
  std::lock_guard lock(mutex_);
  if (right.empty() || right == used.region) return false;
  signing_.region = right;
  return true;
}

bool S3Client::follow_clock(const HttpResponse& response, const S3ErrorBody& body, const Signing& used) {
  // An answer to HEAD has no code.
  if (response.status != 403 || (!body.code.empty() && body.code != "RequestTimeTooSkewed")) return false;
  Time theirs = parse_http_date(response.header("date"));
  int64_t ahead = theirs.sec - system_clock().now().sec;
  if (theirs == Time() || std::abs(ahead - used.ahead_s) < kClockMatters) return false;
  std::lock_guard lock(mutex_);
  if (std::abs(ahead - signing_.ahead_s) >= kClockMatters)
    log_warning("the clocks of this machine and of " + target_.host() + " differ by " +
                std::to_string(std::abs(ahead)) + " seconds: requests are signed with the server's");
  signing_.ahead_s = ahead;
  return true;
}

Result<HttpResponse> S3Client::call(const S3Call& call) {
  for (int corrections = 0;; corrections++) {
    Signing signing;
    {
      std::lock_guard lock(mutex_);
      signing = signing_;
    }
    auto response = send(call, signing);
    if (!response) {
      response.error().what = name(call) + ": " + response.error().what;
      return response;
    }
    if (response->status == 416 && call.past_end_is_fine) return response;
    bool good = response->status / 100 == 2;
    S3ErrorBody body;
    // Only copying and finishing an upload answer 200 before they know; their answers are short.
    bool may_hide = good && !call.into && (call.method == "PUT" || call.method == "POST");
    if (!good || may_hide) body = parse_s3_error(response->body);
    if (good && body.code.empty()) return response;
    if (corrections < 2 && (follow_region(*response, body, signing) || follow_clock(*response, body, signing)))
      continue;
    Error error = s3_error(good ? 500 : response->status, body);
    std::string id = response->header("x-amz-request-id");
    if (id.empty()) id = body.request_id;
    error.what = name(call) + ": " + error.what;
    if (!id.empty()) error.what += " (request id " + id + ")";
    return fail(std::move(error));
  }
}

}  // namespace zest::object
