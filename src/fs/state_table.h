// What a mount must remember beyond the life of the process that serves it: open handles, their locks, what was written
// but not flushed, and the requests being served. It lies in memory shared with the process that watches over the mount
// (memfd_create(2)), so that the next one finds it after a crash or when a newer program takes over.
//
// One process at a time changes it. Records are written before the reply that makes the kernel rely on them. Thread
// safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/messages.h"
#include "base/result.h"
#include "meta/api.h"

namespace zest::fs {

// Sixty-four bytes of shared memory. Its fields change by std::atomic_ref where several threads write.
struct Record {
  enum Kind : uint32_t { kFree, kFile, kDirectory, kInode, kPosixLock, kFlock, kNames, kRequest };
  uint32_t kind = kFree;
  uint32_t flags = 0;  // kFile: of open(2); kNames: how many hashes
  union {
    struct {
      uint64_t id, ino;
      uint64_t lost;   // 1: data written through the handle is gone; 2: a write was refused since; 0: it was told
      uint64_t names;  // of a listing: its first kNames record, counted from 1; 0: none
    } handle;
    struct {
      uint64_t ino, written, flushed;  // counts of writes; equal: everything is in the volume
      uint64_t named;                  // had a name outside the trash when it was opened
    } inode;
    struct {
      uint64_t handle, owner;
    } lock;
    struct {
      uint64_t next;
      uint64_t hashes[6];  // of the names that a listing went past, in order
    } names;
    struct {
      uint64_t unique;  // of the kernel's request; 0: none is being served
      meta::Attempt attempt;
    } request = {};
  };
};
static_assert(sizeof(Record) == 64);

class StateTable {
 public:
  static constexpr size_t kMaxIdentity = 2048, kMaxInit = 256;
  struct Header {
    char magic[8];
    uint32_t layout, record_size;
    std::atomic<uint64_t> used;         // records up to here have been used
    std::atomic<uint64_t> next_handle;  // number of the next handle
    std::atomic<uint64_t> session;      // of the metadata; 0: none
    std::atomic<uint32_t> init_size;    // the kernel's INIT request (linux/fuse.h), which comes once a mount
    std::atomic<uint32_t> initialised;  // it was answered
    std::atomic<uint64_t> requests;     // taken from the kernel so far
    uint32_t posix_acl;                 // the kernel was told to look at ACLs
    char init[kMaxInit];
    char identity[kMaxIdentity];  // volume and options that the kernel's side of the mount depends on
  };

  static Result<std::unique_ptr<StateTable>> create();
  // For who has no successor.
  static std::unique_ptr<StateTable> unshared();
  // How records lie in a table of this program: "2/64". Only who agrees on it can go on with a table.
  static std::string layout();
  // That of another process. EPROTO: of another layout.
  static Result<std::unique_ptr<StateTable>> attach(Fd fd);
  ~StateTable();
  StateTable(const StateTable&) = delete;

  int fd() const { return fd_.get(); }
  Header& header() { return *header_; }
  std::string identity() const { return header_->identity; }
  std::string own_layout() const;
  Result<void> set_identity(std::string_view text);

  // Never null: a full table gives records that a crash forgets.
  Record* take(Record::Kind kind);
  void give_back(Record* record);
  void each(const std::function<void(Record&)>& visit);

  // The names that a listing went past, in order.
  void add_names(Record& directory, const std::vector<uint64_t>& hashes);
  std::vector<uint64_t> names(const Record& directory) const;
  void clear_names(Record& directory);

 private:
  explicit StateTable(Fd fd) : fd_(std::move(fd)) {}
  Result<void> map();
  void set_up();
  Record* at(uint64_t number) const { return records_ + (number - 1); }
  uint64_t number_of(const Record* record) const { return static_cast<uint64_t>(record - records_) + 1; }
  bool is_shared(const Record* record) const;

  Fd fd_;
  Header* header_ = nullptr;
  Record* records_ = nullptr;
  std::mutex mutex_;  // guards what follows
  std::vector<Record*> free_;
  bool told_full_ = false;
};

}  // namespace zest::fs
