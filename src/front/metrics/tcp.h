// Addresses as options give them, and plain TCP connections.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace zest::metrics {

struct HostPort {
  std::string host, port;  // without the brackets of IPv6; the host may be empty
};
// "HOST:PORT", "[::1]:9567", ":9567". EINVAL for what is no address.
Result<HostPort> split_address(const std::string& text);
// The address of this machine from which "HOST:PORT" is reached; nothing is sent.
Result<std::string> local_address_towards(const std::string& other);
// Connects, sends everything and closes, all within timeout_ms (name look-up excepted).
Result<void> send_to(const HostPort& other, std::string_view bytes, int timeout_ms);

}  // namespace zest::metrics
