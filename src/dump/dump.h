// Metadata dumps: JSON and binary, written and loaded (docs/format/dump.md). Streams: memory does not grow with the
// volume but for the names of one directory at a time, and, when loading, one word for each file with several names.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "dump/stream.h"
#include "meta/api.h"

namespace zest::dump {

struct DumpOptions {
  Ino root{kRootIno};         // JSON: dump below this directory
  bool keep_secrets = false;  // else they become "removed"
  bool skip_trash = false;    // JSON
  const std::atomic<bool>* cancelled = nullptr;
  std::atomic<uint64_t>* progress = nullptr;  // counts entries (JSON) or records (binary)
  int threads = 1;                            // JSON: directories read ahead at once
};

// The Meta is loaded. Not a snapshot: each directory is read as it is when its turn comes.
Result<void> dump_json(meta::Meta& meta, const DumpOptions& options, Sink& out);
Result<void> dump_binary(meta::Meta& meta, const DumpOptions& options, Sink& out);

// The counter that tells the version of the change log's last line. The log itself stays behind: that of the loaded
// volume begins anew.
inline constexpr char kLastChangelog[] = "lastChangelog";

struct LoadOptions {
  const std::atomic<bool>* cancelled = nullptr;
  std::atomic<uint64_t>* progress = nullptr;
  int threads = 1;  // that commit
};
// Into an empty database: EEXIST when there is a volume. EINVAL with the place for a broken dump; what was written is
// then removed again.
Result<void> load_json(meta::Meta& meta, const LoadOptions& options, Source& in);
Result<void> load_binary(meta::Meta& meta, const LoadOptions& options, Source& in);

// "acl 0, chunk 16, ...": what a binary dump holds, by its footer.
struct SegmentInfo {
  std::string name;
  uint64_t count = 0;
  std::string offsets;  // comma separated
};
Result<std::vector<SegmentInfo>> binary_contents(const std::string& file, uint32_t& version);
// The messages of the segment at `offset` as JSON text.
Result<std::string> binary_segment(const std::string& file, uint64_t offset, std::string& name);

}  // namespace zest::dump
