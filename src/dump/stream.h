// Bytes in order, to and from files, plain or compressed by gzip or zstd.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace zest::dump {

class Sink {
 public:
  virtual ~Sink() = default;
  virtual Result<void> write(std::string_view bytes) = 0;
  virtual Result<void> finish() = 0;  // writes what is left; nothing may follow
};

class Source {
 public:
  virtual ~Source() = default;
  // Up to `size` bytes; fewer only at the end, 0 there.
  virtual Result<size_t> read(char* into, size_t size) = 0;
};

enum class Packing { kNone, kGzip, kZstd };
Packing packing_of_name(const std::string& file);  // by its extension: .gz, .zstd, .zst

// A file, written under `path`.tmp (mode 0600: a dump may hold secrets) and renamed by finish(); destroyed before that,
// it leaves nothing. An empty path is standard output.
Result<std::unique_ptr<Sink>> open_sink(const std::string& path, Packing packing);
// A file or, with an empty path, standard input. gzip and zstd are told by their first bytes.
Result<std::unique_ptr<Source>> open_source(const std::string& path);
// The same over bytes in memory; they must outlive it.
std::unique_ptr<Source> memory_source(std::string_view bytes);
Result<std::unique_ptr<Source>> unpacked(std::unique_ptr<Source> source);

}  // namespace zest::dump
