#include "object/s3_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "object/crc32c.h"
#include "object/hedge.h"
#include "object/s3_request.h"
#include "object/sigv4.h"

namespace zest::object {
namespace {

constexpr char kChecksumHeader[] = "x-amz-meta-crc32c";
constexpr size_t kMaxPage = 1000;
constexpr int kPastEnd = 416;  // a range behind the end, which has an empty answer by contract

std::string content_type(const std::string& key) {
  constexpr std::pair<std::string_view, const char*> kTypes[] = {{".gz", "application/gzip"},
                                                                 {".json", "application/json"},
                                                                 {".txt", "text/plain; charset=utf-8"},
                                                                 {".html", "text/html; charset=utf-8"},
                                                                 {".xml", "text/xml; charset=utf-8"},
                                                                 {".pdf", "application/pdf"},
                                                                 {".png", "image/png"},
                                                                 {".jpg", "image/jpeg"},
                                                                 {".css", "text/css; charset=utf-8"}};
  for (const auto& [ending, type] : kTypes)
    if (key.ends_with(ending)) return type;
  return "application/octet-stream";
}

// "bytes 0-99/1000"
struct ContentRange {
  uint64_t first = 0, last = 0, total = 0;
  static std::optional<ContentRange> parse(std::string_view text) {
    if (!text.starts_with("bytes ")) return std::nullopt;
    text.remove_prefix(6);
    auto dash = text.find('-'), slash = text.find('/');
    if (dash == text.npos || slash == text.npos || slash < dash) return std::nullopt;
    auto first = parse_uint(text.substr(0, dash)), last = parse_uint(text.substr(dash + 1, slash - dash - 1)),
         total = parse_uint(text.substr(slash + 1));
    if (!first || !last || !total || *last < *first || *last >= *total) return std::nullopt;
    return ContentRange{*first, *last, *total};
  }
};

class S3Store : public Storage {
 public:
  S3Store(S3Target target, S3Credentials credentials, const StoreOptions& options, std::string scheme)
      : options_(options),
        scheme_(std::move(scheme)),
        client_(std::move(target), std::move(credentials), options.max_connections) {}

  std::string describe() const override { return scheme_ + "://" + client_.target().bucket + "/"; }
  Limits limits() const override { return {true, 5 << 20, 5ULL << 30, 10'000, true}; }

  Result<void> create() override {
    if (list({}, {}, {}, 1, {})) return {};
    std::string document = create_bucket_document(client_.region());
    auto call = writing("PUT", "");
    call.body = document;
    auto made = client_.call(call);
    if (made || made.error().what.find("BucketAlreadyOwnedByYou") != std::string::npos ||
        made.error().what.find("BucketAlreadyExists") != std::string::npos)
      return {};
    return fail(std::move(made.error()));
  }

  Result<ObjectInfo> head(const std::string& key) override {
    if (key.empty()) return fail(ENOENT);
    ZEST_ASSIGN(auto response, client_.call(reading("HEAD", key)));
    ObjectInfo info;
    info.key = key;
    info.is_dir = key.ends_with('/');
    info.size = parse_uint(response.header("content-length")).value_or(0);
    info.mtime = parse_http_date(response.header("last-modified"));
    info.storage_class = response.header("x-amz-storage-class");
    return info;
  }

  Result<std::string> get(const std::string& key, uint64_t offset, uint64_t size) override {
    if (size == 0) return std::string();
    auto call = reading("GET", key);
    bool whole = offset == 0 && size == kToEnd;
    if (!whole) set_range(call, offset, size);
    ZEST_ASSIGN(auto response, client_.call(call));
    if (response.status == kPastEnd) return std::string();
    ZEST_TRY(check_body(call, response, offset, size, response.body));
    return std::move(response.body);
  }

  Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer, SegmentSums* sums) override {
    if (sums) sums->clear();
    if (buffer.empty()) return size_t{0};
    return hedge_.run(buffer, [this, key, offset, buffer, sums](std::span<char> into, Cancel& cancel) {
      // a second request may outlive the call
      return get_once(key, offset, into, cancel, into.data() == buffer.data() ? sums : nullptr);
    });
  }
  RequestCounts counts() const override { return {hedge_.sent(), hedge_.won()}; }

  Result<void> put(const std::string& key, std::string_view body, const Placement& where) override {
    if (key.empty()) return fail(EINVAL, "put: empty key");
    auto call = writing("PUT", key);
    call.body = body;
    call.headers.emplace_back("content-type", content_type(key));
    if (client_.target().checksum) call.headers.emplace_back(kChecksumHeader, std::to_string(crc32c(body)));
    place(call, where);
    ZEST_TRY(client_.call(call));
    return {};
  }

  Result<void> copy(const std::string& dst, const std::string& src) override {
    auto call = writing("PUT", dst);
    call.headers.emplace_back("x-amz-copy-source", "/" + client_.target().bucket + "/" + url_encode(src, true));
    place(call, {});
    ZEST_TRY(client_.call(call));
    return {};
  }

  Result<bool> restore(const std::string& key, int days) override {
    auto call = writing("POST", key);
    call.query = {{"restore", ""}};
    const auto document = restore_document(days);
    call.body = document;
    auto asked = client_.call(call);
    if (asked || asked.error().what.find("RestoreAlreadyInProgress") != std::string::npos) return true;
    if (asked.error().what.find("InvalidObjectState") != std::string::npos) return false;
    return fail(std::move(asked.error()));
  }

  Result<void> remove(const std::string& key) override {
    if (key.empty()) return {};
    auto done = client_.call(writing("DELETE", key));
    if (!done && done.error().code != ENOENT) return fail(std::move(done.error()));
    return {};
  }

  std::vector<std::pair<std::string, Error>> remove_many(std::span<const std::string> keys) override {
    std::vector<std::pair<std::string, Error>> failed;
    std::vector<std::string> batch;
    for (const auto& key : keys) {
      if (fits_xml(key) && !key.empty())
        batch.push_back(key);
      else if (auto done = remove(key); !done)
        failed.emplace_back(key, std::move(done.error()));
      if (batch.size() == kMaxPage) remove_batch(batch, failed);
    }
    remove_batch(batch, failed);
    return failed;
  }

  Result<ListPage> list(const std::string& prefix, const std::string& after, const std::string& token, size_t limit,
                        const std::string& delimiter) override {
    ListPage page;
    if (limit == 0) return page;
    std::string start = after;
    // A folder that a listing ended with stands for all that is below it.
    if (!delimiter.empty() && after.ends_with(delimiter)) start += "\xf4\x8f\xbf\xbf";
    page.next = token;
    // Servers may send pages of which nothing is left after filtering.
    do {
      auto call = reading("GET", "");
      call.query = {
          {"list-type", "2"}, {"encoding-type", "url"}, {"max-keys", std::to_string(std::min(limit, kMaxPage))},
          {"prefix", prefix}, {"start-after", start},   {"delimiter", delimiter}};
      if (!page.next.empty()) call.query.emplace_back("continuation-token", page.next);
      ZEST_ASSIGN(auto response, client_.call(call));
      auto listing = parse_s3_listing(response.body);
      if (!listing) {
        listing.error().what = client_.name(call) + ": " + listing.error().what;
        return fail(std::move(listing.error()));
      }
      if (!page.next.empty() && listing->next_token == page.next)
        return fail(EIO, client_.name(call) + ": the listing does not advance");
      page.next = std::move(listing->next_token);
      for (auto& object : listing->objects)
        if (object.key > after && object.key.starts_with(prefix)) page.objects.push_back(std::move(object));
    } while (page.objects.empty() && !page.next.empty());
    return page;
  }

  Result<std::string> start_multipart(const std::string& key) override {
    auto call = writing("POST", key);
    call.query = {{"uploads", ""}};
    call.headers.emplace_back("content-type", content_type(key));
    place(call, {});
    ZEST_ASSIGN(auto response, client_.call(call));
    return parse_upload_id(response.body);
  }

  Result<Part> put_part(const std::string& key, const std::string& upload, int number, std::string_view body) override {
    auto call = writing("PUT", key);
    call.query = {{"partNumber", std::to_string(number)}, {"uploadId", upload}};
    call.body = body;
    ZEST_ASSIGN(auto response, client_.call(call));
    std::string etag = response.header("etag");
    if (etag.empty()) return fail(EIO, client_.name(call) + ": no ETag in the answer");
    return Part{number, std::move(etag), body.size()};
  }

  Result<void> finish_multipart(const std::string& key, const std::string& upload,
                                std::span<const Part> parts) override {
    std::string document = complete_document(parts);
    auto call = writing("POST", key);
    call.query = {{"uploadId", upload}};
    call.headers.emplace_back("content-type", "application/xml");
    call.body = document;
    ZEST_TRY(client_.call(call));
    return {};
  }

  Result<void> abort_multipart(const std::string& key, const std::string& upload) override {
    auto call = writing("DELETE", key);
    call.query = {{"uploadId", upload}};
    auto done = client_.call(call);
    if (!done && done.error().code != ENOENT) return fail(std::move(done.error()));
    return {};
  }

 private:
  S3Call reading(std::string method, const std::string& key) const {
    S3Call call;
    call.method = std::move(method);
    call.key = key;
    call.timeout_ms = options_.get_timeout_ms;
    return call;
  }
  S3Call writing(std::string method, const std::string& key) const {
    S3Call call = reading(std::move(method), key);
    call.timeout_ms = options_.put_timeout_ms;
    return call;
  }
  Result<size_t> get_once(const std::string& key, uint64_t offset, std::span<char> into, Cancel& cancel,
                          SegmentSums* sums) {
    auto call = reading("GET", key);
    set_range(call, offset, into.size());
    call.into = into;
    call.cancel = &cancel;
    ZEST_ASSIGN(auto response, client_.call(call));
    if (response.status == kPastEnd) return size_t{0};
    ZEST_TRY(check_body(call, response, offset, into.size(), {into.data(), response.into_size}, sums));
    return response.into_size;
  }
  void place(S3Call& call, const Placement& where) const {
    const auto& name = where.storage_class.empty() ? options_.storage_class : where.storage_class;
    if (!name.empty()) call.headers.emplace_back("x-amz-storage-class", name);
    const auto& tag = where.tag.empty() ? options_.tag : where.tag;
    const auto equals = tag.find('=');
    if (!tag.empty())
      call.headers.emplace_back(
          "x-amz-tagging", url_encode(tag.substr(0, equals), false) + "=" + url_encode(tag.substr(equals + 1), false));
  }

  static void set_range(S3Call& call, uint64_t offset, uint64_t size) {
    std::string range = "bytes=" + std::to_string(offset) + "-";
    if (size != kToEnd && size - 1 <= UINT64_MAX - offset) range += std::to_string(offset + size - 1);
    call.headers.emplace_back("range", range);
    call.past_end_is_fine = true;
    call.skip_if_whole = offset;
    call.keep = size;
  }

  // The body must be as long as the object makes it, and, if it is the whole object, have its checksum.
  Result<void> check_body(const S3Call& call, const HttpResponse& response, uint64_t offset, uint64_t size,
                          std::string_view body, SegmentSums* sums = nullptr) const {
    uint64_t total = response.received;
    if (response.status == 206) {
      auto range = ContentRange::parse(response.header("content-range"));
      if (!range || range->first != offset)
        return fail(EIO, Fault::kUnavailable, client_.name(call) + ": answer for another range");
      total = range->total;
    }
    uint64_t expected = offset >= total ? 0 : std::min(size, total - offset);
    if (body.size() != expected)
      return fail(
          EIO, Fault::kUnavailable,
          client_.name(call) + ": " + std::to_string(body.size()) + " bytes instead of " + std::to_string(expected));
    auto checksum = parse_uint(response.header(kChecksumHeader));
    if (!checksum || !client_.target().checksum || body.size() != total) return {};
    auto segments = crc32c_segments(body);
    if (crc32c_joined(segments, body.size()) != *checksum)
      return fail(EIO, Fault::kUnavailable, client_.name(call) + ": the body does not have its checksum");
    if (sums) *sums = std::move(segments);
    return {};
  }

  // Leaves the batch empty.
  void remove_batch(std::vector<std::string>& batch, std::vector<std::pair<std::string, Error>>& failed) {
    if (batch.empty()) return;
    std::string document = delete_document(batch);
    auto call = writing("POST", "");
    call.query = {{"delete", ""}};
    call.headers.emplace_back("content-type", "application/xml");
    call.headers.emplace_back("content-md5", md5_base64(document));
    call.body = document;
    auto response = client_.call(call);
    if (!response && response.error().code == ENOTSUP) {
      for (auto& one : Storage::remove_many(batch)) failed.push_back(std::move(one));
    } else if (!response) {
      for (auto& key : batch) failed.emplace_back(key, response.error());
    } else if (auto failures = parse_delete_result(response->body); !failures) {
      for (auto& key : batch) failed.emplace_back(key, failures.error());
    } else {
      for (auto& failure : *failures) {
        if (failure.code == "NoSuchKey") continue;
        Error error = s3_error(200, {failure.code, failure.message, {}, {}});
        error.what = "DELETE s3://" + client_.target().bucket + "/" + failure.key + ": " + error.what;
        failed.emplace_back(std::move(failure.key), std::move(error));
      }
    }
    batch.clear();
  }

  const StoreOptions options_;
  const std::string scheme_;
  S3Client client_;
  Hedge hedge_;  // its requests end before the client does
};

}  // namespace

std::unique_ptr<Storage> make_s3_store(S3Target target, S3Credentials credentials, const StoreOptions& options,
                                       std::string scheme_name) {
  return std::make_unique<S3Store>(std::move(target), std::move(credentials), options, std::move(scheme_name));
}

}  // namespace zest::object
