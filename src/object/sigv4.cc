#include "object/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <time.h>

#include <algorithm>

#include "base/bytes.h"
#include "object/http.h"

namespace zest::object {
namespace {

std::string digest(const EVP_MD* kind, std::string_view data) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(data.data(), data.size(), out, &size, kind, nullptr);
  return {reinterpret_cast<char*>(out), size};
}

std::string hmac(std::string_view key, std::string_view data) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(data.data()),
       data.size(), out, &size);
  return {reinterpret_cast<char*>(out), size};
}

// Outer blanks go, inner runs become one.
std::string squeezed(std::string_view value) {
  std::string out;
  for (char c : value) {
    if (c == ' ' && (out.empty() || out.back() == ' ')) continue;
    out += c;
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

}  // namespace

std::string sha256_hex(std::string_view data) { return to_hex(digest(EVP_sha256(), data)); }

std::string md5_base64(std::string_view data) {
  std::string raw = digest(EVP_md5(), data);
  unsigned char out[64];
  int size = EVP_EncodeBlock(out, reinterpret_cast<const unsigned char*>(raw.data()), static_cast<int>(raw.size()));
  return {reinterpret_cast<char*>(out), static_cast<size_t>(size)};
}

std::string canonical_query(const std::vector<std::pair<std::string, std::string>>& query) {
  std::vector<std::pair<std::string, std::string>> encoded;
  for (const auto& [name, value] : query) encoded.emplace_back(url_encode(name), url_encode(value));
  std::sort(encoded.begin(), encoded.end());
  std::string out;
  for (const auto& [name, value] : encoded) {
    if (!out.empty()) out += '&';
    out += name + "=" + value;
  }
  return out;
}

std::string amz_date(Time now) {
  time_t seconds = now.sec;
  struct tm parts;
  gmtime_r(&seconds, &parts);
  char text[32];
  size_t size = strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &parts);
  return {text, size};
}

std::string sign_v4(const SignedRequest& request, std::string_view date, std::string_view region,
                    std::string_view service, std::string_view access_key, std::string_view secret_key) {
  std::string names, headers;
  for (const auto& [name, value] : request.headers) {
    if (!names.empty()) names += ';';
    names += name;
    headers += name + ":" + squeezed(value) + "\n";
  }
  std::string canonical = request.method + "\n" + request.path + "\n" + canonical_query(request.query) + "\n" +
                          headers + "\n" + names + "\n" + request.payload_hash;
  std::string day(date.substr(0, 8));
  std::string scope = day + "/" + std::string(region) + "/" + std::string(service) + "/aws4_request";
  std::string to_sign = "AWS4-HMAC-SHA256\n" + std::string(date) + "\n" + scope + "\n" + sha256_hex(canonical);
  std::string key = hmac(hmac(hmac(hmac("AWS4" + std::string(secret_key), day), region), service), "aws4_request");
  return "AWS4-HMAC-SHA256 Credential=" + std::string(access_key) + "/" + scope + ",SignedHeaders=" + names +
         ",Signature=" + to_hex(hmac(key, to_sign));
}

}  // namespace zest::object
