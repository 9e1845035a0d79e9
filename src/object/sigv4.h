// AWS Signature Version 4. Pure functions.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace zest::object {

struct SignedRequest {
  std::string method;
  std::string path;                                        // encoded, begins with '/'
  std::vector<std::pair<std::string, std::string>> query;  // not encoded
  std::map<std::string, std::string> headers;              // lower-case names; "host" among them; all are signed
  std::string payload_hash;                                // hex, or "UNSIGNED-PAYLOAD"
};

// "a=1&b=2", encoded and sorted: for the URL and for signing.
std::string canonical_query(const std::vector<std::pair<std::string, std::string>>& query);

std::string amz_date(Time now);  // "20130524T000000Z"

// The value of the Authorization header. The headers must hold "x-amz-date" with this date.
std::string sign_v4(const SignedRequest& request, std::string_view date, std::string_view region,
                    std::string_view service, std::string_view access_key, std::string_view secret_key);

std::string sha256_hex(std::string_view data);
std::string md5_base64(std::string_view data);

}  // namespace zest::object
