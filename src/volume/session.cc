// The JSON by which a session tells of its client.
#include <nlohmann/json.hpp>

#include "volume/records.h"
#include "volume/text.h"

namespace zest {

using nlohmann::ordered_json;

std::string encode_session_info(const SessionInfo& info) {
  ordered_json out;
  out["Version"] = info.version;
  out["HostName"] = info.host;
  if (!info.addresses.empty()) out["IPAddrs"] = info.addresses;
  out["MountPoint"] = info.mount_point;
  out["MountTime"] = time_to_json(info.mount_time.sec, info.mount_time.nsec);
  out["ProcessID"] = info.pid;
  return out.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

Result<SessionInfo> decode_session_info(std::string_view json) {
  SessionInfo info;
  if (json.empty()) return info;
  auto parsed = ordered_json::parse(repair_utf8(json), nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return fail(EIO, "session info is no JSON object");
  for (const auto& [name, value] : parsed.items()) {
    auto is = [&name = name](std::string_view wanted) { return same_ignoring_case(name, wanted); };
    if (value.is_string()) {
      auto text = value.get<std::string>();
      if (is("Version"))
        info.version = std::move(text);
      else if (is("HostName"))
        info.host = std::move(text);
      else if (is("MountPoint"))
        info.mount_point = std::move(text);
      else if (is("MountTime") && !time_from_json(text, info.mount_time.sec, info.mount_time.nsec))
        return fail(EIO, "session info with a malformed time");
    } else if (is("IPAddrs") && value.is_array()) {
      for (const auto& address : value)
        if (address.is_string()) info.addresses.push_back(address.get<std::string>());
    } else if (is("ProcessID") && value.is_number_integer()) {
      info.pid = value.get<int64_t>();
    }
  }
  return info;
}

}  // namespace zest
