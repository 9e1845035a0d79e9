#include "base/result.h"

#include <cstring>

namespace zest {

std::string Error::message() const {
  char buffer[128];
  std::string text = strerror_r(code, buffer, sizeof buffer);
  return what.empty() ? text : what + ": " + text;
}

}  // namespace zest
