#include "object/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

namespace zest::object {
namespace {

constexpr size_t kMaxErrorBody = 64 << 10, kMaxReserve = 64 << 20;
constexpr size_t kMaxHeaders = 200;

void init_curl_once() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

using Headers = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

// What the callbacks of one transfer work on.
struct Transfer {
  const HttpRequest& request;
  HttpResponse response;
  uint64_t skip = 0, keep = UINT64_MAX;

  void on_header(std::string_view line) {
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) {  // also after an interim answer
      response.headers.clear();
      auto blank = line.find(' ');
      response.status = blank == line.npos ? 0 : std::atoi(std::string(line.substr(blank + 1, 3)).c_str());
      bool whole = response.status == 200;
      skip = whole ? request.skip_if_whole : 0;
      keep = request.keep;
      return;
    }
    auto colon = line.find(':');
    if (colon == line.npos || response.headers.size() >= kMaxHeaders) return;
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    line.remove_prefix(colon + 1);
    while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    if (name == "content-length" && !request.into) {
      auto size = std::strtoull(std::string(line).c_str(), nullptr, 10);
      if (request.method != "HEAD" && response.status / 100 == 2)
        response.body.reserve(std::min<uint64_t>(size, kMaxReserve));
    }
    response.headers[std::move(name)] = std::string(line);
  }

  void on_body(std::string_view data) {
    response.received += data.size();
    if (request.cancel) request.cancel->note_received(response.received);
    if (response.status / 100 != 2) {
      response.body.append(data.substr(0, kMaxErrorBody - std::min(kMaxErrorBody, response.body.size())));
      return;
    }
    auto dropped = std::min<uint64_t>(skip, data.size());
    skip -= dropped;
    data.remove_prefix(dropped);
    data = data.substr(0, keep);
    keep -= data.size();
    if (!request.into) {
      response.body.append(data);
      return;
    }
    size_t fits = std::min(data.size(), request.into->size() - response.into_size);
    std::memcpy(request.into->data() + response.into_size, data.data(), fits);
    response.into_size += fits;
  }
};

size_t header_callback(char* data, size_t size, size_t count, void* arg) {
  static_cast<Transfer*>(arg)->on_header({data, size * count});
  return size * count;
}
size_t body_callback(char* data, size_t size, size_t count, void* arg) {
  static_cast<Transfer*>(arg)->on_body({data, size * count});
  return size * count;
}

void set_tls(CURL* curl, const TlsOptions& tls) {
  if (tls.insecure) {
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (!tls.ca.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, tls.ca.c_str());
  if (!tls.cert.empty()) curl_easy_setopt(curl, CURLOPT_SSLCERT, tls.cert.c_str());
  if (!tls.cert_key.empty()) curl_easy_setopt(curl, CURLOPT_SSLKEY, tls.cert_key.c_str());
}

void set_request(CURL* curl, const HttpRequest& request, Transfer& transfer, char* error_text) {
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, std::min(10'000L, static_cast<long>(request.timeout_ms)));
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error_text);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &header_callback);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &body_callback);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  if (request.method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  } else if (request.method != "GET") {
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    if (request.method != "DELETE" || !request.body.empty()) {
      // Not "upload": the body lies in memory, so a dead kept-alive connection is replaced without our doing.
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.empty() ? "" : request.body.data());
    }
  }
}

bool nothing_was_sent(CURLcode code) {
  return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_CONNECT ||
         code == CURLE_SSL_CONNECT_ERROR;
}

bool will_not_pass(CURLcode code) {
  return code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_PEER_FAILED_VERIFICATION ||
         code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_CERTPROBLEM || code == CURLE_OUT_OF_MEMORY;
}

Error error_of(CURL* curl, CURLcode code, const HttpRequest& request, const char* text) {
  Error error;
  error.what = *text ? text : curl_easy_strerror(code);
  bool reads = request.method == "GET" || request.method == "HEAD";
  curl_off_t connected_us = 0;
  curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
  if (code == CURLE_ABORTED_BY_CALLBACK)
    error.code = ECANCELED;
  else if (will_not_pass(code))
    error.fault = Fault::kPlain;
  else if (reads || nothing_was_sent(code) || connected_us == 0)
    error.fault = Fault::kUnavailable;
  else
    error.fault = Fault::kUnknownOutcome;
  return error;
}

}  // namespace

// A handle and the connection that it keeps.
struct HttpClient::Connection {
  CURL* easy = curl_easy_init();
  CURLM* multi = curl_multi_init();
  ~Connection() {
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
  }
  CURLcode perform(Cancel* cancel);
};

CURLcode HttpClient::Connection::perform(Cancel* cancel) {
  if (curl_multi_add_handle(multi, easy) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
  if (cancel) cancel->attach([this] { curl_multi_wakeup(multi); });
  CURLcode code = CURLE_OK;
  for (int running = 1; running > 0;) {
    if (curl_multi_perform(multi, &running) != CURLM_OK) code = CURLE_OUT_OF_MEMORY, running = 0;
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi, &left))
      if (message->msg == CURLMSG_DONE) code = message->data.result;
    if (running > 0 && cancel && cancel->cancelled()) code = CURLE_ABORTED_BY_CALLBACK, running = 0;
    if (running > 0) curl_multi_poll(multi, nullptr, 0, 1000, nullptr);
  }
  if (cancel) cancel->attach({});
  curl_multi_remove_handle(multi, easy);  // one that was not done loses its connection
  return code;
}

HttpClient::HttpClient(int max_connections, TlsOptions tls)
    : limit_(static_cast<size_t>(std::max(max_connections, 1))), tls_(std::move(tls)) {
  init_curl_once();
}

HttpClient::~HttpClient() = default;

std::unique_ptr<HttpClient::Connection> HttpClient::take(int timeout_ms) {
  std::unique_lock lock(mutex_);
  auto has_room = [&] { return !idle_.empty() || out_ < limit_; };
  if (!freed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), has_room)) return nullptr;
  out_++;
  if (idle_.empty()) {
    lock.unlock();
    return std::make_unique<Connection>();
  }
  auto connection = std::move(idle_.back());
  idle_.pop_back();
  return connection;
}

void HttpClient::give(std::unique_ptr<Connection> connection) {
  curl_easy_reset(connection->easy);  // keeps the connection
  std::lock_guard lock(mutex_);
  out_--;
  idle_.push_back(std::move(connection));
  freed_.notify_one();
}

Result<HttpResponse> HttpClient::send(const HttpRequest& request) {
  auto begin = std::chrono::steady_clock::now();
  auto connection = take(request.timeout_ms);
  if (!connection) return fail(EIO, Fault::kUnavailable, "no connection was free in time");
  CURL* curl = connection->easy;
  Headers headers(nullptr, &curl_slist_free_all);
  auto add = [&](const char* line) {
    if (auto* list = curl_slist_append(headers.get(), line)) {
      (void)headers.release();
      headers.reset(list);
    }
  };
  for (const auto& line : request.headers) add(line.c_str());
  add("Accept-Encoding: identity");  // or a proxy may compress, and then cut ranges out of that
  add("Expect:");                    // never wait for "100 Continue"
  char error_text[CURL_ERROR_SIZE] = "";
  Transfer transfer{request, {}};
  set_request(curl, request, transfer, error_text);
  set_tls(curl, tls_);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, std::max<long>(1, request.timeout_ms - static_cast<long>(waited)));
  CURLcode code = connection->perform(request.cancel);
  Error error;
  if (code != CURLE_OK) error = error_of(curl, code, request, error_text);
  give(std::move(connection));
  if (code != CURLE_OK) return fail(std::move(error));
  return std::move(transfer.response);
}

std::string url_encode(std::string_view text, bool keep_slash) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size() + 16);
  for (char c : text) {
    bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                 c == '_' || c == '~' || (keep_slash && c == '/');
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kDigits[static_cast<uint8_t>(c) >> 4];
      out += kDigits[static_cast<uint8_t>(c) & 15];
    }
  }
  return out;
}

std::optional<std::string> url_decode(std::string_view text) {
  auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      if (i + 2 >= text.size()) return std::nullopt;
      int high = digit(text[i + 1]), low = digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high << 4 | low);
      i += 2;
    }
  }
  return out;
}

}  // namespace zest::object
