// What the bucket argument of an S3 store means (docs/format/objects.md section 16), and where its credentials come
// from. No I/O but reading the files in ~/.aws.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "object/http.h"
#include "object/open.h"

namespace zest::object {

// Reads an environment variable; empty when it is not set. Passed in, so that tests own the environment.
using GetEnv = std::function<std::string(const char* name)>;
std::string real_env(const char* name);

struct S3Target {
  std::string scheme = "https", endpoint;  // endpoint: "host[:port]", empty for AWS itself
  std::string bucket, region;
  std::string aws_service = "s3";  // how hosts of AWS begin: also "s3-accelerate", "s3-fips"
  bool aws = false, path_style = true;
  bool checksum = true;
  TlsOptions tls;

  std::string host() const;       // that requests go to
  std::string base_path() const;  // "/" or "/bucket/"
  std::string aws_host() const;
};

// minio: the rules of that name. EINVAL when there is no bucket in it.
Result<S3Target> parse_s3_bucket(const std::string& bucket, bool minio, const GetEnv& env);

struct S3Credentials {
  std::string access_key, secret_key, session_token;
  bool anonymous = false;
};
// Given ones, else MINIO_* (minio) or AWS_* variables, else the profile AWS_PROFILE of the shared files.
// EACCES when there are none.
Result<S3Credentials> find_s3_credentials(const Credentials& given, bool minio, const GetEnv& env);

}  // namespace zest::object
