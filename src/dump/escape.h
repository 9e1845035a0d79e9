// Byte strings in JSON dumps (docs/format/dump.md section 4).
#pragma once

#include <string>
#include <string_view>

namespace zest::dump {

// %XX for control characters, '%', '"', '\' and each byte that is no UTF-8.
std::string escape(std::string_view bytes);
// %XX with upper-case digits becomes a byte; anything else stays.
std::string unescape(std::string_view text);
// A JSON string with its quotes; also <, > and & are escaped, as the reference's encoder does.
std::string json_string(std::string_view text);

}  // namespace zest::dump
