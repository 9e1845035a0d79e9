// An object store (docs/format/objects.md): what the data path, gc, sync and the tests need of it, and nothing more.
// Behaviour is added by decorators (prefix, shard, retry, limit, checksum, encrypt) with the same interface.
//
// All calls are thread safe and blocking. Errors: ENOENT for an object that is not there (never for remove: removing
// what is not there succeeds), EACCES for refused credentials, ENOTSUP for what a store cannot do, EIO with Fault
// kUnavailable where trying again may help; the text names the key and, where there is one, the request id.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace zest::object {

struct ObjectInfo {
  std::string key;
  uint64_t size = 0;
  Time mtime;
  bool is_dir = false;        // a common prefix, or a folder of a file-like store; its key ends with '/'
  std::string storage_class;  // empty: the store's default
};

struct ListPage {
  std::vector<ObjectInfo> objects;  // in byte order of the keys
  std::string next;                 // give it back to go on; empty: that was all
};

struct Limits {
  bool multipart = false;
  uint64_t min_part = 0, max_part = 0;
  int max_parts = 0;
  bool placement = false;  // put() honours its Placement
};
struct Part {
  int number = 0;  // from 1
  std::string etag;
  uint64_t size = 0;
};

// How an object is stored: empty members mean what the store was opened with.
struct Placement {
  std::string storage_class;
  std::string tag;  // "key=value"
  bool is_default() const { return storage_class.empty() && tag.empty(); }
};

// Since the store was opened.
struct RequestCounts {
  uint64_t hedges = 0, hedges_won = 0;  // reads that were asked for a second time (hedge.h); of those, quicker ones
};

constexpr uint64_t kToEnd = UINT64_MAX;

using SegmentSums = std::vector<uint32_t>;  // crc32c_segments() of some bytes

class Storage {
 public:
  virtual ~Storage() = default;
  virtual std::string describe() const = 0;  // "s3://bucket/prefix/": no secrets
  virtual Limits limits() const { return {}; }
  virtual RequestCounts counts() const { return {}; }

  virtual Result<void> create() = 0;  // the bucket or folder; success if it is there and ours
  virtual Result<ObjectInfo> head(const std::string& key) = 0;
  // `size` bytes from `offset` (kToEnd: to the end). A body shorter than what the object should give is an error; a
  // range beyond the object's end gives what there is.
  virtual Result<std::string> get(const std::string& key, uint64_t offset = 0, uint64_t size = kToEnd) = 0;
  // The same into a buffer; the number of bytes. Stores that can avoid a copy override it. sums, if given, gets the
  // checksums of those bytes where the store had to compute them, and is empty otherwise.
  virtual Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer,
                                  SegmentSums* sums = nullptr);
  // Replaces the object as a whole: readers see the old or the new one. Safe against a killed client when it returns;
  // against power loss only after sync().
  virtual Result<void> put(const std::string& key, std::string_view body, const Placement& where = {}) = 0;
  virtual Result<void> copy(const std::string& dst, const std::string& src);
  // Asks for an archived object to be readable for so many days, from some hours on. False: it is not archived. ENOTSUP
  // where nothing is.
  virtual Result<bool> restore(const std::string& key, int days);
  virtual Result<void> remove(const std::string& key) = 0;
  // Every put, copy and finished multipart that returned before is durable against power loss. Costs nothing where a
  // store's answer means that (S3); on local files it is the fsync of what was written since the last one.
  virtual Result<void> sync() { return {}; }
  // One error for each key that could not be removed. The default calls remove() for each.
  virtual std::vector<std::pair<std::string, Error>> remove_many(std::span<const std::string> keys);
  // Objects whose key begins with `prefix` and comes after `after`; with delimiter "/", folders are folded into one
  // entry.
  virtual Result<ListPage> list(const std::string& prefix, const std::string& after, const std::string& token,
                                size_t limit, const std::string& delimiter = {}) = 0;

  virtual Result<std::string> start_multipart(const std::string& key);
  virtual Result<Part> put_part(const std::string& key, const std::string& upload, int number, std::string_view body);
  virtual Result<void> finish_multipart(const std::string& key, const std::string& upload, std::span<const Part> parts);
  virtual Result<void> abort_multipart(const std::string& key, const std::string& upload);
};

// Calls `each` for every object below the prefix whose key is greater than `after`, in order, page by page; stops when
// it gives false.
Result<void> list_all(Storage&, const std::string& prefix, const std::function<bool(const ObjectInfo&)>& each,
                      const std::string& after = {});

// Removes the empty folders that file-like stores keep below `prefix` (empty, or ending '/'), and the prefix's own.
Result<void> remove_folders(Storage&, const std::string& prefix);

}  // namespace zest::object
