// What a call returns that can fail: a value or an Error.
//
// Our code throws nothing. An Error is an errno, what kind of failure it was (can a retry help?), and a text that names
// the object, key or file concerned. Errors that are ordinary answers of a file system (ENOENT, EEXIST, ...) carry no
// text and allocate nothing.
#pragma once

#include <cerrno>
#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace zest {

enum class Fault : uint8_t {
  kPlain,           // an answer: repeating the call gives the same
  kConflict,        // the transaction lost a race: run it again
  kUnavailable,     // a server cannot be reached or is too busy: may work later, nothing was done
  kUnknownOutcome,  // the connection broke after the request was sent: it may or may not have been carried out
};

struct Error {
  int code = EIO;  // an errno
  Fault fault = Fault::kPlain;
  std::string what;  // may be empty; never holds a secret

  // "text: No such file or directory", or just the errno's text.
  std::string message() const;
};

template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
};

inline std::unexpected<Error> fail(int code) { return std::unexpected<Error>(Error{code, Fault::kPlain, {}}); }
inline std::unexpected<Error> fail(int code, std::string what) {
  return std::unexpected<Error>(Error{code, Fault::kPlain, std::move(what)});
}
inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }
inline std::unexpected<Error> fail(int code, Fault fault, std::string what) {
  return std::unexpected<Error>(Error{code, fault, std::move(what)});
}

// The errno of a result, 0 on success.
template <class T>
int code_of(const Result<T>& result) {
  return result ? 0 : result.error().code;
}

}  // namespace zest

// Returns the error of `expr` from the calling function, if it is one.
#define ZEST_TRY(expr)                                                                                   \
  do {                                                                                                   \
    if (auto zest_result_ = (expr); !zest_result_) return ::zest::fail(std::move(zest_result_.error())); \
  } while (0)

#define ZEST_CONCAT_(a, b) a##b
#define ZEST_CONCAT(a, b) ZEST_CONCAT_(a, b)
// ZEST_ASSIGN(auto attr, meta.getattr(ino));
#define ZEST_ASSIGN(decl, expr)                                                  \
  auto ZEST_CONCAT(zest_assign_, __LINE__) = (expr);                             \
  if (!ZEST_CONCAT(zest_assign_, __LINE__))                                      \
    return ::zest::fail(std::move(ZEST_CONCAT(zest_assign_, __LINE__).error())); \
  decl = std::move(*ZEST_CONCAT(zest_assign_, __LINE__))
