#include "object/s3_xml.h"

#include <time.h>
#include <pugixml.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "base/bytes.h"
#include "object/http.h"

namespace zest::object {
namespace {

// White space is kept: a key may be nothing else.
bool load(pugi::xml_document& doc, std::string_view xml) {
  return static_cast<bool>(doc.load_buffer(xml.data(), xml.size(), pugi::parse_default | pugi::parse_ws_pcdata_single));
}

std::string printable(std::string text, size_t limit) {
  if (text.size() > limit) text.resize(limit);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < ' '; }, ' ');
  return text;
}

std::string written(const pugi::xml_document& doc) {
  std::ostringstream out;
  doc.save(out, "", pugi::format_raw | pugi::format_no_declaration);
  return out.str();
}

pugi::xml_node add(pugi::xml_node parent, const char* name, const std::string& text) {
  auto node = parent.append_child(name);
  node.text().set(text.c_str());
  return node;
}

}  // namespace

S3ErrorBody parse_s3_error(std::string_view xml) {
  pugi::xml_document doc;
  S3ErrorBody error;
  if (xml.empty() || !load(doc, xml)) return error;
  auto root = doc.child("Error");
  error.code = printable(root.child("Code").text().get(), 100);
  error.message = printable(root.child("Message").text().get(), 300);
  error.request_id = printable(root.child("RequestId").text().get(), 100);
  error.region = printable(root.child("Region").text().get(), 100);
  return error;
}

Result<S3Listing> parse_s3_listing(std::string_view xml) {
  pugi::xml_document doc;
  if (!load(doc, xml)) return fail(EIO, Fault::kUnavailable, "the listing is no XML");
  auto root = doc.child("ListBucketResult");
  if (!root) return fail(EIO, Fault::kUnavailable, "the answer is no listing");
  bool encoded = std::strcmp(root.child("EncodingType").text().get(), "url") == 0;
  auto key_of = [&](const char* text) -> Result<std::string> {
    if (!encoded) return std::string(text);
    auto key = url_decode(text);
    if (!key) return fail(EIO, std::string("bad encoding of a key in the listing: ") + text);
    return std::move(*key);
  };
  S3Listing listing;
  for (auto node : root.children("Contents")) {
    ObjectInfo info;
    ZEST_ASSIGN(info.key, key_of(node.child("Key").text().get()));
    info.size = node.child("Size").text().as_ullong();
    info.mtime = parse_iso_time(node.child("LastModified").text().get());
    info.storage_class = node.child("StorageClass").text().get();
    info.is_dir = info.key.ends_with('/');
    listing.objects.push_back(std::move(info));
  }
  for (auto node : root.children("CommonPrefixes")) {
    ObjectInfo info;
    ZEST_ASSIGN(info.key, key_of(node.child("Prefix").text().get()));
    info.is_dir = true;
    listing.objects.push_back(std::move(info));
  }
  auto by_key = [](const ObjectInfo& a, const ObjectInfo& b) { return a.key < b.key; };
  std::sort(listing.objects.begin(), listing.objects.end(), by_key);
  if (root.child("IsTruncated").text().as_bool()) {
    listing.next_token = root.child("NextContinuationToken").text().get();
    if (listing.next_token.empty()) return fail(EIO, "the listing goes on, but does not tell where");
  }
  return listing;
}

// Of characters that XML may have, in well-formed UTF-8.
bool fits_xml(std::string_view key) {
  while (!key.empty()) {
    auto lead = static_cast<uint8_t>(key[0]);
    size_t size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (size == 0 || size > key.size() || lead < ' ') return false;
    uint32_t point = size == 1 ? lead : lead & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
      auto next = static_cast<uint8_t>(key[i]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3f);
    }
    bool too_long = (size == 3 && point < 0x800) || (size == 4 && point < 0x10000);
    bool surrogate = point >= 0xd800 && point < 0xe000;
    if (too_long || surrogate || point == 0xfffe || point == 0xffff || point > 0x10ffff) return false;
    key.remove_prefix(size);
  }
  return true;
}

std::string delete_document(std::span<const std::string> keys) {
  pugi::xml_document doc;
  auto root = doc.append_child("Delete");
  root.append_attribute("xmlns") = "http://s3.amazonaws.com/doc/2006-03-01/";
  for (const auto& key : keys) add(root.append_child("Object"), "Key", key);
  add(root, "Quiet", "true");
  return written(doc);
}

Result<std::vector<S3DeleteFailure>> parse_delete_result(std::string_view xml) {
  pugi::xml_document doc;
  if (!load(doc, xml) || !doc.child("DeleteResult"))
    return fail(EIO, Fault::kUnavailable, "the answer to a bulk delete cannot be read");
  std::vector<S3DeleteFailure> failures;
  for (auto node : doc.child("DeleteResult").children("Error"))
    failures.push_back({node.child("Key").text().get(), printable(node.child("Code").text().get(), 100),
                        printable(node.child("Message").text().get(), 300)});
  return failures;
}

Result<std::string> parse_upload_id(std::string_view xml) {
  pugi::xml_document doc;
  std::string id;
  if (load(doc, xml)) id = doc.child("InitiateMultipartUploadResult").child("UploadId").text().get();
  if (id.empty()) return fail(EIO, "no upload id in the answer");
  return id;
}

std::string complete_document(std::span<const Part> parts) {
  pugi::xml_document doc;
  auto root = doc.append_child("CompleteMultipartUpload");
  root.append_attribute("xmlns") = "http://s3.amazonaws.com/doc/2006-03-01/";
  for (const auto& part : parts) {
    auto node = root.append_child("Part");
    add(node, "PartNumber", std::to_string(part.number));
    add(node, "ETag", part.etag);
  }
  return written(doc);
}

std::string restore_document(int days) {
  pugi::xml_document doc;
  auto root = doc.append_child("RestoreRequest");
  root.append_child("Days").text().set(days);
  return written(doc);
}

std::string create_bucket_document(std::string_view region) {
  if (region.empty() || region == "us-east-1") return {};
  pugi::xml_document doc;
  auto root = doc.append_child("CreateBucketConfiguration");
  root.append_attribute("xmlns") = "http://s3.amazonaws.com/doc/2006-03-01/";
  add(root, "LocationConstraint", std::string(region));
  return written(doc);
}

Time parse_iso_time(std::string_view text) {
  struct tm parts = {};
  std::string copy(text.substr(0, 19));
  if (std::sscanf(copy.c_str(), "%d-%d-%dT%d:%d:%d", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &parts.tm_hour,
                  &parts.tm_min, &parts.tm_sec) != 6)
    return {};
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  uint32_t nsec = 0;
  if (text.size() > 20 && text[19] == '.') {
    uint32_t unit = 100'000'000;
    for (char c : text.substr(20)) {
      if (c < '0' || c > '9') break;
      nsec += static_cast<uint32_t>(c - '0') * unit;
      unit /= 10;
    }
  }
  return {static_cast<int64_t>(::timegm(&parts)), nsec};
}

Time parse_http_date(const std::string& text) {
  struct tm parts = {};
  // strptime follows the program's locale, which nothing here sets: day and month names are English.
  if (!::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts)) return {};
  return {static_cast<int64_t>(::timegm(&parts)), 0};
}

}  // namespace zest::object
