// What this build calls itself.
#pragma once

#include <string>

namespace zest::cli {

std::string version_number();  // "0.1.0+2026-11-30.1a2b3c4"
std::string version_text();    // "zestfs version ..."
// What the session record and .config tell: the version of the reference that we behave as, and ours as its build.
std::string session_version();

}  // namespace zest::cli
