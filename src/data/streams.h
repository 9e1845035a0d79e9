// How one handle is read: finds sequential streams among its reads and says what to fetch ahead. Pure logic.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace zest::data {

class Streams {
 public:
  static constexpr size_t kStreams = 4;

  // What one read asks for. Nothing ahead: from == to.
  struct Plan {
    bool sequential = false;    // the blocks read now will be wanted whole
    uint64_t from = 0, to = 0;  // bytes of the file to fetch ahead that no earlier plan of the stream named
    uint64_t keep = 0;          // what the stream fetched before this offset can go
    size_t stream = 0;
  };

  // max_window 0: never fetch ahead.
  Streams(uint64_t block_size, uint64_t max_window) : block_(block_size), max_(max_window) {}

  Plan on_read(uint64_t offset, uint64_t size, uint64_t length);
  // The last read of that stream had to wait for the store: its window was too small. far: each wait costs much, so it
  // grows faster.
  void stalled(size_t stream, bool far);
  // Memory was short.
  void shrink(size_t stream);
  uint64_t window(size_t stream) const { return streams_[stream].window; }

 private:
  struct Stream {
    uint64_t last = 0;   // end of the furthest read
    uint64_t total = 0;  // bytes read in order
    uint64_t window = 0;
    uint64_t planned = 0;  // fetched ahead up to here
    uint64_t used = 0;     // tick of the last read; 0: free
  };
  size_t match(uint64_t offset, uint64_t size, bool& fresh);
  const uint64_t block_, max_;
  uint64_t tick_ = 0;
  std::array<Stream, kStreams> streams_{};
};

}  // namespace zest::data
