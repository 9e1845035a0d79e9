// How the secrets among a volume's settings are stored (docs/format/encodings.md section 7.1). Private to volume/.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace zest {

inline constexpr char kRemovedSecret[] = "removed";

// algo: Format.encrypt_algo; "sm4gcm" takes SM4 and SM3, everything else AES-128 and MD5.
// Base64 of nonce, ciphertext, tag. nonce: 12 bytes, random when empty (tests set it).
Result<std::string> seal_secret(std::string_view uuid, std::string_view algo, std::string_view plain,
                                std::string_view nonce = {});
// EACCES when the secret was stripped or the tag does not fit; EINVAL when the text is malformed.
Result<std::string> open_secret(std::string_view uuid, std::string_view algo, std::string_view sealed);

}  // namespace zest
