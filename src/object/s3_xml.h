// The XML that S3 servers send and take. Input is untrusted.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "object/storage.h"

namespace zest::object {

struct S3ErrorBody {
  std::string code, message, request_id, region;  // empty when the body is no error document
};
S3ErrorBody parse_s3_error(std::string_view xml);

struct S3Listing {
  std::vector<ObjectInfo> objects;  // objects and folders, sorted
  std::string next_token;           // empty: that was all
};
// EIO for what is no listing.
Result<S3Listing> parse_s3_listing(std::string_view xml);

std::string delete_document(std::span<const std::string> keys);
// Keys that were not removed, with code and message.
struct S3DeleteFailure {
  std::string key, code, message;
};
Result<std::vector<S3DeleteFailure>> parse_delete_result(std::string_view xml);
// False for keys that no XML document can hold.
bool fits_xml(std::string_view key);

Result<std::string> parse_upload_id(std::string_view xml);
std::string complete_document(std::span<const Part> parts);
std::string restore_document(int days);                       // of archived objects
std::string create_bucket_document(std::string_view region);  // empty for us-east-1

// "2026-11-30T08:15:01.123Z" and "Mon, 30 Nov 2026 08:15:01 GMT"; the zero time for other texts.
Time parse_iso_time(std::string_view text);
Time parse_http_date(const std::string& text);

}  // namespace zest::object
