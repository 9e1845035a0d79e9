// Objects as they lie in the store, cache files, and what an S3 server answers.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "base/bytes.h"
#include "data/cache/cache_file.h"
#include "fuzz.h"
#include "object/compress.h"
#include "object/envelope.h"
#include "object/s3_target.h"
#include "object/s3_xml.h"

namespace zest::fuzz {

namespace {

using namespace zest::object;

const std::string& rsa_key() {
  static const std::string pem = [] {
    EVP_PKEY* key = EVP_RSA_gen(2048);
    BIO* out = BIO_new(BIO_s_mem());
    require(key && PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr) == 1, "a key is made");
    char* data = nullptr;
    const long size = BIO_get_mem_data(out, &data);
    std::string text(data, static_cast<size_t>(size));
    BIO_free(out);
    EVP_PKEY_free(key);
    return text;
  }();
  return pem;
}

Target envelope(const char* algorithm) {
  auto open = Envelope::open(rsa_key(), "", algorithm);
  require(open.has_value(), "the key opens");
  auto key = *open;
  auto use = [key](std::string_view input) {
    auto plain = key->unseal(input);
    std::array<char, 64> little;
    auto size = key->unseal_into(input, little);
    require(!plain || plain->size() <= input.size(), "what was sealed was not longer");
    require(!size || (plain && *size == plain->size()), "both ways agree");
  };
  return {std::string("objects.envelope.") + algorithm,
          {*key->seal("plain text"), *key->seal(""), *key->seal(std::string(5000, 'x'))},
          use,
          8};
}

Target decompressor(Compression how, const char* name) {
  auto use = [how](std::string_view input) {
    for (size_t size : {size_t{0}, size_t{10}, size_t{4096}, size_t{1} << 17}) {
      std::string into(size, '\0');
      (void)decompress(how, input, into);
    }
  };
  std::string mixed;
  for (int i = 0; i < 2000; i++) mixed += std::to_string(i * 7919 % 1000);
  return {std::string("objects.") + name,
          {*compress(how, "0123456789"), *compress(how, std::string(4096, 'a')), *compress(how, mixed)},
          use};
}

void use_pem(std::string_view input) { (void)Envelope::open(std::string(input), "passphrase", ""); }

void use_xml(std::string_view input) {
  (void)parse_s3_error(input);
  (void)parse_s3_listing(input);
  (void)parse_delete_result(input);
  (void)parse_upload_id(input);
  (void)fits_xml(input);
}

std::vector<std::string> xml_seeds() {
  return {
      R"(<?xml version="1.0"?><ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated><NextContinuationToken>t+/=</NextContinuationToken>
<EncodingType>url</EncodingType><Contents><Key>chunks%2F0</Key><Size>123</Size><LastModified>2024-01-02T03:04:05.678Z</LastModified></Contents>
<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes></ListBucketResult>)",
      "<Error><Code>NoSuchKey</Code><Message>none &lt;there&gt;</Message><RequestId>1</RequestId></Error>",
      "<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code><Message>m</Message></Error></DeleteResult>",
      "<InitiateMultipartUploadResult><UploadId>abc</UploadId></InitiateMultipartUploadResult>",
      std::string(200, '<') + "a",
      "<a>" + std::string(3000, ' ') + "</a>"};
}

void use_s3_texts(std::string_view input) {
  const std::string text(input);
  const GetEnv none = [](const char*) { return std::string(); };
  (void)parse_s3_bucket(text, false, none);
  (void)parse_s3_bucket(text, true, none);
  (void)parse_iso_time(input);
  (void)parse_http_date(text);
}

// A block of the disk cache: bytes, then checksums of its segments.
void use_cache_file(std::string_view input) {
  using namespace zest::data;
  static const std::string path = std::filesystem::temp_directory_path() / ("zest-fuzz-" + std::to_string(getpid()));
  std::ofstream(path, std::ios::binary) << input;
  for (uint32_t size : {0u, 10u, 40'000u})
    for (auto level : {Verify::kFull, Verify::kShrink, Verify::kExtend, Verify::kNone})
      if (auto file = CacheFile::open(path, size, level)) {
        std::string into(size / 2, '\0');
        (void)(*file)->read(size / 4, into);
      }
  std::filesystem::remove(path);
}

std::string cached(size_t size) {
  const std::string data(size, 'c');
  return data + data::checksum_trailer(data);
}

}  // namespace

std::vector<Target> object_targets() {
  return {
      envelope("aes256gcm-rsa"),
      envelope("chacha20-rsa"),
      {"objects.pem", {rsa_key()}, use_pem, 8},
      decompressor(Compression::kLz4, "lz4"),
      decompressor(Compression::kZstd, "zstd"),
      {"objects.xml", xml_seeds(), use_xml},
      {"objects.s3_texts",
       {"https://bucket.s3.eu-west-1.amazonaws.com", "http://127.0.0.1:9000/bucket?tls-insecure-skip-verify=true",
        "s3://b/prefix", "http://[::1]:80/b", "Tue, 02 Jan 2024 03:04:05 GMT", "2024-01-02T03:04:05Z"},
       use_s3_texts},
      {"objects.cache_file", {cached(10), cached(40'000), std::string(10, 'c'), ""}, use_cache_file, 8},
  };
}

}  // namespace zest::fuzz
