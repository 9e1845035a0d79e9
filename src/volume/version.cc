// Versions, and which clients a volume lets in.
#include <cerrno>

#include "base/bytes.h"
#include "volume/format.h"

namespace zest {

namespace {

struct Version {
  bool valid = false;
  uint64_t numbers[3] = {};
  std::string_view pre;
};

Version parse_version(std::string_view text) {
  Version out;
  text = text.substr(0, text.find('+'));
  size_t dash = text.find('-');
  if (dash != text.npos) {
    out.pre = text.substr(dash + 1);
    text = text.substr(0, dash);
  }
  for (size_t i = 0; i < 3; i++) {
    size_t dot = text.find('.');
    std::string_view part = text.substr(0, dot);
    if (part.empty() || part.find_first_not_of("0123456789") != part.npos) return {};
    auto number = parse_uint(part);
    if (!number) return {};
    out.numbers[i] = *number;
    if (dot == text.npos) {
      out.valid = true;
      return out;
    }
    text.remove_prefix(dot + 1);
  }
  return {};  // four numbers
}

template <class T>
int order(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

}  // namespace

int compare_versions(std::string_view a, std::string_view b) {
  Version x = parse_version(a), y = parse_version(b);
  if (!x.valid || !y.valid) return order(x.valid, y.valid);
  for (size_t i = 0; i < 3; i++)
    if (int c = order(x.numbers[i], y.numbers[i])) return c;
  if (x.pre.empty() || y.pre.empty()) return order(x.pre.empty(), y.pre.empty());
  return order(x.pre, y.pre);
}

Result<void> check_client_version(const Format& format) {
  if (format.meta_version > 1)
    return fail(EPERM, "incompatible metadata version " + std::to_string(format.meta_version) +
                           ": this client reads version 1 at most, a newer one is needed");
  const auto& least = format.min_client_version;
  if (!least.empty() && compare_versions(kCompatVersion, least) < 0)
    return fail(EPERM, "allowed minimum version: " + least + ", this client counts as " + kCompatVersion);
  const auto& most = format.max_client_version;
  if (!most.empty() && compare_versions(kCompatVersion, most) > 0)
    return fail(EPERM, "allowed maximum version: " + most + ", this client counts as " + kCompatVersion);
  return {};
}

}  // namespace zest
