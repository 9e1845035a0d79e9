#include "front/metrics/push.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/log.h"
#include "front/metrics/tcp.h"

namespace zest::metrics {
namespace {

constexpr int kTimeoutMs = 2'000;

std::string base64(const std::string& text) {
  std::string out((text.size() + 2) / 3 * 4 + 1, '\0');
  int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                             reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  out.resize(static_cast<size_t>(size));
  return out;
}

std::string base64_of_url(const std::string& text) {
  auto out = base64(text);
  std::replace(out.begin(), out.end(), '+', '-');
  std::replace(out.begin(), out.end(), '/', '_');
  return out.empty() ? "=" : out;
}

}  // namespace

std::string gateway_path(const std::vector<std::pair<std::string, std::string>>& group) {
  std::string out = "/metrics/job/juicefs";
  for (auto& [name, value] : group)
    out += value.empty() || value.find('/') != value.npos ? fmt::format("/{}@base64/{}", name, base64_of_url(value))
                                                          : fmt::format("/{}/{}", name, object::url_encode(value));
  return out;
}

Push::Push(PushOptions options, const std::vector<std::pair<std::string, std::string>>& group, Texts texts)
    : options_(std::move(options)),
      url_((options_.gateway.find("://") == std::string::npos ? "http://" : "") + options_.gateway +
           gateway_path(group)),
      texts_(std::move(texts)),
      client_(1, {}),
      job_("push-metrics", options_.interval_ms, [this] { push(); }) {
  job_.wake();
}

void Push::push() {
  if (!options_.gateway.empty()) tell("the push gateway", gateway_fails_, push_to_gateway());
  if (options_.graphite.empty()) return;
  Result<void> done;
  if (auto at = split_address(options_.graphite))
    done = send_to(*at, texts_.graphite(), kTimeoutMs);
  else
    done = fail(std::move(at.error()));
  tell("Graphite", graphite_fails_, done);
}

Result<void> Push::push_to_gateway() {
  auto body = texts_.prometheus();
  object::HttpRequest request;
  request.method = "PUT";
  request.url = url_;
  request.headers = {"Content-Type: text/plain; version=0.0.4; charset=utf-8"};
  if (!options_.auth.empty()) request.headers.push_back("Authorization: Basic " + base64(options_.auth));
  request.body = body;
  request.timeout_ms = kTimeoutMs;
  ZEST_ASSIGN(auto answer, client_.send(request));
  if (answer.status / 100 == 2) return {};
  return fail(EIO, fmt::format("answer {}: {}", answer.status, answer.body.substr(0, 200)));
}

// Once when it begins to fail and once when it works again.
void Push::tell(const char* where, bool& failing, const Result<void>& done) {
  if (done.has_value() != failing) return;
  failing = !done;
  if (failing)
    log_warning(fmt::format("metrics are not sent to {}: {}", where, done.error().message()));
  else
    log_info(fmt::format("metrics are sent to {} again", where));
}

}  // namespace zest::metrics
