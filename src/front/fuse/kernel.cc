#include "front/fuse/kernel.h"

#include <linux/fuse.h>
#include <unistd.h>

#include <cstring>

namespace zest::fuse {
namespace {

constexpr uint32_t kHasResend = 1u << (39 - 32);  // FUSE_HAS_RESEND, in flags2 of the INIT request
constexpr int kNotifyResend = 7;                  // FUSE_NOTIFY_RESEND

}  // namespace

bool can_resend(const char* init, size_t size) {
  fuse_init_in in{};
  if (size < sizeof(fuse_in_header) + offsetof(fuse_init_in, unused)) return false;
  std::memcpy(&in, init + sizeof(fuse_in_header), offsetof(fuse_init_in, unused));
  return (in.flags & FUSE_INIT_EXT) && (in.flags2 & kHasResend);
}

bool ask_to_resend(int fd) {
  fuse_out_header message{sizeof(message), kNotifyResend, 0};
  return write(fd, &message, sizeof(message)) == sizeof(message);
}

void answer(int fd, uint64_t unique, int code) {
  fuse_out_header message{sizeof(message), -code, unique};
  (void)!write(fd, &message, sizeof(message));
}

}  // namespace zest::fuse
