// Byte-range locks.
#include <algorithm>

#include "base/bytes.h"
#include "volume/records.h"

namespace zest {

std::string encode_posix_locks(const std::vector<PosixLock>& locks) {
  std::string out;
  out.reserve(locks.size() * 24);
  for (const auto& lock : locks) {
    put_be32(out, static_cast<uint32_t>(lock.type));
    put_be32(out, lock.pid);
    put_be64(out, lock.start);
    put_be64(out, lock.end);
  }
  return out;
}

Result<std::vector<PosixLock>> decode_posix_locks(std::string_view records) {
  if (records.size() % 24 != 0) return fail(EIO, "lock records of " + std::to_string(records.size()) + " bytes");
  std::vector<PosixLock> out;
  out.reserve(records.size() / 24);
  ByteReader in(records);
  while (in.left() > 0) {
    PosixLock lock;
    // clients on other systems number the types otherwise: what is no read lock is taken for the stronger kind
    lock.type = in.be32() == 0 ? LockType::kRead : LockType::kWrite;
    lock.pid = in.be32();
    lock.start = in.be64();
    lock.end = in.be64();
    if (lock.start > lock.end || lock.end > kLockEnd) return fail(EIO, "lock record with a bad range");
    out.push_back(lock);
  }
  return out;
}

std::vector<PosixLock> apply_posix_lock(std::vector<PosixLock> held, const PosixLock& request) {
  std::vector<PosixLock> out;
  for (const auto& old : held) {
    if (old.end < request.start || old.start > request.end) {
      out.push_back(old);
      continue;
    }
    if (old.start < request.start) out.push_back({old.type, old.pid, old.start, request.start - 1});
    if (old.end > request.end) out.push_back({old.type, old.pid, request.end + 1, old.end});
  }
  if (request.type != LockType::kUnlock) out.push_back(request);
  std::sort(out.begin(), out.end(), [](const PosixLock& a, const PosixLock& b) { return a.start < b.start; });
  size_t kept = 0;
  for (size_t i = 0; i < out.size(); i++) {
    if (kept > 0 && out[kept - 1].type == out[i].type && out[kept - 1].pid == out[i].pid &&
        out[kept - 1].end + 1 == out[i].start)
      out[kept - 1].end = out[i].end;
    else
      out[kept++] = out[i];
  }
  out.resize(kept);
  return out;
}

}  // namespace zest
