#include "meta/engine/kv/etcd_json.h"

#include <openssl/evp.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace zest::meta::kv {
namespace {

Result<std::string> from_base64(const std::string& text) {
  if (text.empty()) return std::string();
  std::string out(text.size() / 4 * 3, '\0');
  int n = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                          reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (n < 0) return fail(EINVAL, "a value is not base64");
  size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  out.resize(static_cast<size_t>(n) - padding);
  return out;
}

}  // namespace

Result<void> load_etcd_json(const std::string& file, MemoryStore& store) {
  std::ifstream in(file);
  if (!in) return fail(errno ? errno : ENOENT, file);
  auto json = nlohmann::json::parse(in, nullptr, false);
  if (json.is_discarded() || !json.is_object() || !json.contains("kvs") || !json["kvs"].is_array())
    return fail(EINVAL, file + " is no list of etcd's keys");
  std::vector<std::pair<std::string, std::string>> pairs;
  for (auto& kv : json["kvs"]) {
    if (!kv.is_object() || !kv.contains("key") || !kv["key"].is_string())
      return fail(EINVAL, file + ": a pair without key");
    ZEST_ASSIGN(auto key, from_base64(kv["key"].get<std::string>()));
    std::string value;
    if (kv.contains("value") && kv["value"].is_string()) {
      ZEST_ASSIGN(value, from_base64(kv["value"].get<std::string>()));
    }
    auto prefix_end = key.find('\xFD');
    if (prefix_end == std::string::npos) return fail(EINVAL, file + ": a key without a volume's prefix");
    pairs.emplace_back(key.substr(prefix_end + 1), std::move(value));
  }
  store.load(pairs);
  return {};
}

}  // namespace zest::meta::kv
