// Moves whole objects between memory and files. Large aligned pieces pass the kernel's page cache by (O_DIRECT): the
// copy into fresh pages of it costs several times what all the rest of a write does, and nobody needs the data there,
// since it is on its way to or from a mount that caches it itself. Where a file system refuses (EINVAL), the usual way
// is taken.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace zest::object {

// From here on memory is worth aligning to kDirectAlign.
constexpr size_t kDirectSize = 1 << 20, kDirectAlign = 4096;

// Write all of it at the descriptor's place; an errno.
int write_all(int fd, std::string_view body);     // through the page cache
int write_direct(int fd, std::string_view body);  // past it where that is worth it

// Does the page cache have any of it? True where the kernel cannot tell.
bool in_page_cache(int fd, uint64_t offset, uint64_t size);

// Up to into.size() bytes from `offset`, fewer only at the end of the file; -1 with errno. What the page cache has is
// taken from there.
ssize_t read_all(int fd, uint64_t offset, std::span<char> into);

}  // namespace zest::object
