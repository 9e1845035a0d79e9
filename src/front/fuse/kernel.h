// Messages to the kernel that libfuse 3.14 does not know. Source: linux/fuse.h of Linux 6.9 and later, fuse(4).
#pragma once

#include <cstddef>
#include <cstdint>

namespace zest::fuse {

// Set in the number of a request that the kernel sends again.
constexpr uint64_t kResent = uint64_t{1} << 63;

// Does the kernel that sent this INIT request send requests again (since 6.9)?
bool can_resend(const char* init, size_t size);
// Makes the kernel send again what was read from its device and not answered. False: it cannot.
bool ask_to_resend(int fd);
// Answers the request with an errno. Nothing happens when it is not waiting for an answer.
void answer(int fd, uint64_t unique, int code);

}  // namespace zest::fuse
