// Sealing of single bodies (docs/format/objects.md section 5): a fresh data key for each, wrapped by the volume's RSA
// key. Bytes in, bytes out; knows nothing of stores.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace zest::object {

class Envelope {
 public:
  // pem: the RSA key in one of the four forms; passphrase: may be empty for a key that is not encrypted. algorithm:
  // "aes256gcm-rsa" (also when empty), "chacha20-rsa". EACCES when the passphrase does not open the key, EINVAL for
  // what is no RSA key or algorithm, ENOTSUP for those of other versions that this program cannot do.
  static Result<std::shared_ptr<const Envelope>> open(const std::string& pem, const std::string& passphrase,
                                                      std::string_view algorithm);
  virtual ~Envelope() = default;

  // Thread safe.
  virtual Result<std::string> seal(std::string_view plain) const = 0;
  // The same without memory for it: `room` is asked once, for the size of all, and gives where it goes.
  virtual Result<void> seal_into(std::string_view plain, const std::function<Result<char*>(size_t)>& room) const = 0;
  // EIO for what was changed, cut, or sealed by another key.
  virtual Result<std::string> unseal(std::string_view sealed) const = 0;
  // The same into a buffer, which must hold it: ERANGE when it does not. After an error the buffer's content is void.
  virtual Result<size_t> unseal_into(std::string_view sealed, std::span<char> into) const = 0;
};

}  // namespace zest::object
