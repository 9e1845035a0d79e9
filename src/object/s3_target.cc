#include "object/s3_target.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <utility>

namespace zest::object {
namespace {

constexpr std::string_view kAws = ".amazonaws.com";

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

bool is_true(const std::string& text) { return !text.empty() && text != "0" && text != "false"; }

constexpr std::string_view kAccelerate = "s3-accelerate", kFips = "s3-fips";

// The accelerated name tells no region.
// "s3.eu-west-1.amazonaws.com", "s3-external-1.amazonaws.com", "s3.dualstack.eu-west-1.amazonaws.com"
std::string region_of_aws_host(std::string_view host) {
  auto drop = [&](std::string_view start) {
    if (host.starts_with(start)) host.remove_prefix(start.size());
  };
  bool accelerated = host.starts_with(kAccelerate);
  drop(kAccelerate);
  drop(kFips);
  drop(".");
  drop("s3-");
  drop("s3.");
  drop("dualstack.");
  if (accelerated) return {};
  if (host.starts_with("amazonaws.com")) return "us-east-1";
  std::string label(host.substr(0, host.find('.')));
  return label == "external-1" ? "us-east-1" : label;
}

void set_aws_host(std::string_view host, S3Target& target) {
  target.aws = true;
  target.region = region_of_aws_host(host);
  for (auto service : {kAccelerate, kFips})
    if (host.starts_with(service) && host.substr(service.size()).starts_with('.')) target.aws_service = service;
}

// Providers whose host names tell the region.
std::string region_of_other_host(std::string_view host) {
  constexpr std::string_view kOracle = ".compat.objectstorage.";
  if (auto at = host.find(kOracle); at != host.npos && host.ends_with(".oraclecloud.com")) {
    auto rest = host.substr(at + kOracle.size());
    return std::string(rest.substr(0, rest.find('.')));
  }
  if (host.starts_with("s3.") && host.ends_with(".cloud.ovh.net")) {
    auto rest = host.substr(3);
    return std::string(rest.substr(0, rest.find('.')));
  }
  return {};
}

bool is_address(std::string_view host) {
  if (host.starts_with('[')) return true;
  host = host.substr(0, host.find(':'));
  return !host.empty() &&
         std::all_of(host.begin(), host.end(), [](char c) { return c == '.' || (c >= '0' && c <= '9'); });
}

std::map<std::string, std::string> parse_query(std::string_view query) {
  std::map<std::string, std::string> out;
  while (!query.empty()) {
    auto one = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), one.size() + 1));
    auto equals = one.find('=');
    auto name = url_decode(one.substr(0, equals));
    auto value = url_decode(equals == one.npos ? std::string_view() : one.substr(equals + 1));
    if (name && value) out[*name] = *value;
  }
  return out;
}

// The bucket is a part of the host's name.
void split_host(const std::string& host, S3Target& target) {
  auto dot = host.find('.');
  if (dot == std::string::npos) {
    target.bucket = host;
    target.aws = true;
    return;
  }
  bool aws = contains(host, kAws);
  if (aws && contains(host, ".vpce.amazonaws.com")) {
    target.bucket = host.substr(0, dot);
    target.endpoint = host.substr(dot + 1);
    auto before = target.endpoint.substr(0, target.endpoint.find(".vpce.amazonaws.com"));
    target.region = before.substr(before.rfind('.') + 1);
  } else if (auto s3 = std::min(host.find(".s3."), host.find(".s3-")); aws && s3 != std::string::npos) {
    target.bucket = host.substr(0, s3);
    set_aws_host(std::string_view(host).substr(s3 + 1), target);
  } else {
    target.bucket = host.substr(0, dot);
    target.endpoint = host.substr(dot + 1);
    target.region = region_of_other_host(target.endpoint);
  }
}

}  // namespace

std::string real_env(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string S3Target::aws_host() const {
  if (aws_service == kAccelerate) return aws_service + ".amazonaws.com";
  return aws_service + "." + region + (region.starts_with("cn-") ? ".amazonaws.com.cn" : ".amazonaws.com");
}

std::string S3Target::host() const {
  std::string base = aws ? aws_host() : endpoint;
  return path_style ? base : bucket + "." + base;
}

std::string S3Target::base_path() const { return path_style ? "/" + url_encode(bucket) + "/" : "/"; }

namespace {

std::string trimmed(std::string_view text) {
  auto begin = text.find_first_not_of(" \t\r");
  if (begin == text.npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1));
}

// The values of one section of an INI file.
std::map<std::string, std::string> read_profile(const std::string& file, const std::string& profile) {
  std::map<std::string, std::string> values;
  std::ifstream in(file);
  bool ours = false;
  for (std::string line; std::getline(in, line);) {
    line = trimmed(line);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line[0] == '[') {
      std::string name = trimmed(std::string_view(line).substr(1, line.find(']') - 1));
      ours = name == profile || name == "profile " + profile;
      continue;
    }
    auto equals = line.find('=');
    if (ours && equals != std::string::npos) values[trimmed(line.substr(0, equals))] = trimmed(line.substr(equals + 1));
  }
  return values;
}

// The profile's values of the files that AWS's own tools use: credentials first, then config.
std::map<std::string, std::string> read_shared_files(const GetEnv& env) {
  std::string profile = env("AWS_PROFILE"), folder = env("HOME").empty() ? "" : env("HOME") + "/.aws/";
  if (profile.empty()) profile = "default";
  std::map<std::string, std::string> values;
  for (auto [variable, name] :
       {std::pair("AWS_SHARED_CREDENTIALS_FILE", "credentials"), std::pair("AWS_CONFIG_FILE", "config")}) {
    std::string file = env(variable);
    if (file.empty() && !folder.empty()) file = folder + name;
    if (!file.empty()) values.merge(read_profile(file, profile));
  }
  return values;
}

}  // namespace

Result<S3Target> parse_s3_bucket(const std::string& argument, bool minio, const GetEnv& env) {
  S3Target target;
  std::string rest = argument;
  std::map<std::string, std::string> query;
  if (auto mark = rest.find('?'); mark != std::string::npos) {
    query = parse_query(std::string_view(rest).substr(mark + 1));
    rest.erase(mark);
  }
  if (auto colon = rest.find("://"); colon != std::string::npos) {
    target.scheme = rest.substr(0, colon);
    rest.erase(0, colon + 3);
    if (target.scheme == "s3" || target.scheme == "minio") target.scheme = minio ? "http" : "https";
  } else if (minio || (contains(rest, ".") && !rest.ends_with(kAws) && !rest.ends_with(".amazonaws.com.cn"))) {
    target.scheme = "http";
  }
  if (target.scheme != "http" && target.scheme != "https")
    return fail(EINVAL, "the bucket's URL must begin with http:// or https://: " + argument);
  auto slash = rest.find('/');
  std::string host = rest.substr(0, slash);
  std::string path = slash == std::string::npos ? ""
                                                : rest.substr(rest.find_first_not_of('/', slash) == std::string::npos
                                                                  ? rest.size()
                                                                  : rest.find_first_not_of('/', slash));
  if (contains(host, "@")) return fail(EINVAL, "credentials do not belong into the bucket's URL");
  if (minio && path.starts_with("minio/")) path.erase(0, 6);
  path.erase(std::min(path.find('/'), path.size()));
  if (!path.empty()) {
    target.bucket = path;
    if (!minio && contains(host, kAws) && !contains(host, ".vpce.")) {
      set_aws_host(host, target);
    } else {
      target.endpoint = host;
      target.region = region_of_other_host(host);
    }
  } else if (!minio && !is_address(host)) {
    split_host(host, target);
  }
  if (target.bucket.empty() || (!target.aws && target.endpoint.empty()))
    return fail(EINVAL, "no bucket in the URL: " + argument);

  if (minio && query.contains("region")) target.region = query["region"];
  for (const char* name : {minio ? "MINIO_REGION" : "AWS_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"})
    if (target.region.empty()) target.region = env(name);
  if (target.region.empty() && !minio) target.region = read_shared_files(env)["region"];
  if (target.region.empty()) target.region = "us-east-1";
  // Certificates of AWS do not cover names with a dot before the service's host.
  target.path_style = target.aws ? contains(target.bucket, ".") : minio || !is_true(env("JFS_S3_VHOST_STYLE"));
  target.checksum = query["disable-checksum"] != "true";
  target.tls.insecure = query["tls-insecure-skip-verify"] == "true" || is_true(env("ZEST_S3_INSECURE_TLS"));
  target.tls.ca = query.contains("ca-certs") ? query["ca-certs"] : env("AWS_CA_BUNDLE");
  target.tls.cert = query["ssl-cert"];
  target.tls.cert_key = query["ssl-key"];
  return target;
}

Result<S3Credentials> find_s3_credentials(const Credentials& given, bool minio, const GetEnv& env) {
  if (given.access_key == "anonymous") return S3Credentials{.anonymous = true};
  if (!given.access_key.empty()) return S3Credentials{given.access_key, given.secret_key, given.session_token};
  if (minio && !env("MINIO_ACCESS_KEY").empty())
    return S3Credentials{env("MINIO_ACCESS_KEY"), env("MINIO_SECRET_KEY"), {}};
  if (!env("AWS_ACCESS_KEY_ID").empty())
    return S3Credentials{env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY"), env("AWS_SESSION_TOKEN")};
  auto values = read_shared_files(env);
  if (values["aws_access_key_id"].empty())
    return fail(EACCES,
                "no credentials for the object store: give --access-key and --secret-key, set "
                "AWS_ACCESS_KEY_ID, or use the access key \"anonymous\"");
  return S3Credentials{values["aws_access_key_id"], values["aws_secret_access_key"], values["aws_session_token"]};
}

}  // namespace zest::object
