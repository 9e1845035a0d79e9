// Where the time of an operation goes. An operation runs on one thread; the code below it says what it is waiting for,
// without knowing the operation. Threads that run no operation pay a look at a thread-local pointer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace zest {

enum class Part : uint8_t {
  kQueue,   // in the kernel's queue, at most: nobody was reading it (front/fuse)
  kCpu,     // running
  kLock,    // waiting for another operation: a file's lock, a hot directory, a lock of an application
  kMemory,  // waiting for the memory budget
  kMeta,    // the database
  kObject,  // the object storage
  kCache,   // files of the disk cache and of the write-back staging
  kOther,   // the rest: waiting for a CPU, mostly
};
constexpr size_t kParts = 8;
const char* name_of(Part part);  // "queue", "cpu", ...

// Nanoseconds of each part; together the time from being queued to the end.
struct Spent {
  std::array<int64_t, kParts> ns{};
  uint32_t round_trips = 0;  // to the database
  int64_t& of(Part part) { return ns[static_cast<size_t>(part)]; }
  int64_t of(Part part) const { return ns[static_cast<size_t>(part)]; }
};

// The operation that this thread runs from construction to end(). One within another is part of that one: it then knows
// only its own length.
class Spending {
 public:
  Spending();
  ~Spending();
  Spending(const Spending&) = delete;
  // Nanoseconds since construction; now `spent` is complete, unless nested() is true. Once.
  int64_t end();
  bool nested() const { return nested_; }
  const Spent& spent() const { return spent_; }

 private:
  Spent spent_;
  const bool nested_;
  const int64_t begin_ns_;
  int64_t cpu_ns_ = 0;
  bool ended_ = false;
};

// While in scope, this thread's operation waits for `part`. Nested, the inner one counts alone.
class Waiting {
 public:
  explicit Waiting(Part part);
  ~Waiting();
  Waiting(const Waiting&) = delete;

 private:
  bool counts_;
  Part before_;
};

// How long the request that this thread serves next may have waited in the kernel.
void note_queued(int64_t ns);
// One question to the database and its answer, or several sent together.
void note_round_trip();
// Of all threads, since the start of the process.
uint64_t round_trips();

}  // namespace zest
