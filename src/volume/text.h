// What the readers of the volume's JSON texts share. Private to volume/.
#pragma once

#include <string>
#include <string_view>

namespace zest {

// Every byte that is not part of well-formed UTF-8 replaced by U+FFFD, so that a JSON parser takes the text.
std::string repair_utf8(std::string_view text);
// Equal but for the case of ASCII letters.
bool same_ignoring_case(std::string_view a, std::string_view b);
// How deep the arrays and objects of a JSON text are nested.
size_t json_depth(std::string_view json);
// RFC 3339 with as many digits of the second's fraction as it needs, UTC ("…Z"), and back (any offset).
std::string time_to_json(int64_t sec, uint32_t nsec);
bool time_from_json(std::string_view text, int64_t& sec, uint32_t& nsec);

}  // namespace zest
