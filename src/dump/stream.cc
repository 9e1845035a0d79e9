#include "dump/stream.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace zest::dump {
namespace {

constexpr size_t kBuffer = 1 << 20;

class FileSink : public Sink {
 public:
  FileSink(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~FileSink() override {
    if (fd_ < 0 || path_.empty()) return;
    close(fd_);
    unlink(temporary().c_str());
  }
  std::string temporary() const { return path_ + ".tmp"; }
  Result<void> write(std::string_view bytes) override {
    while (!bytes.empty()) {
      auto n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(errno, path_.empty() ? "standard output" : path_);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return {};
  }
  Result<void> finish() override {
    if (path_.empty()) return {};
    if (fsync(fd_) != 0 || close(std::exchange(fd_, -1)) != 0 || rename(temporary().c_str(), path_.c_str()) != 0) {
      int error = errno;
      unlink(temporary().c_str());
      return fail(error, path_);
    }
    return {};
  }

 private:
  int fd_;
  const std::string path_;
};

class GzipSink : public Sink {
 public:
  explicit GzipSink(std::unique_ptr<Sink> under) : under_(std::move(under)), out_(kBuffer) {
    // 16: with a gzip header, whose time stays 0
    deflateInit2(&stream_, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  }
  ~GzipSink() override { deflateEnd(&stream_); }
  Result<void> write(std::string_view bytes) override { return run(bytes, Z_NO_FLUSH); }
  Result<void> finish() override {
    ZEST_TRY(run({}, Z_FINISH));
    return under_->finish();
  }

 private:
  Result<void> run(std::string_view bytes, int flush) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(out_.data());
      stream_.avail_out = static_cast<uInt>(out_.size());
      deflate(&stream_, flush);
      ZEST_TRY(under_->write({out_.data(), out_.size() - stream_.avail_out}));
    } while (stream_.avail_out == 0);
    return {};
  }
  std::unique_ptr<Sink> under_;
  std::vector<char> out_;
  z_stream stream_{};
};

class ZstdSink : public Sink {
 public:
  explicit ZstdSink(std::unique_ptr<Sink> under)
      : under_(std::move(under)), stream_(ZSTD_createCStream()), out_(ZSTD_CStreamOutSize()) {
    ZSTD_initCStream(stream_, 1);
  }
  ~ZstdSink() override { ZSTD_freeCStream(stream_); }
  Result<void> write(std::string_view bytes) override { return run(bytes, ZSTD_e_continue); }
  Result<void> finish() override {
    ZEST_TRY(run({}, ZSTD_e_end));
    return under_->finish();
  }

 private:
  Result<void> run(std::string_view bytes, ZSTD_EndDirective mode) {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    while (true) {
      ZSTD_outBuffer out{out_.data(), out_.size(), 0};
      size_t left = ZSTD_compressStream2(stream_, &out, &in, mode);
      if (ZSTD_isError(left)) return fail(EIO, std::string("zstd: ") + ZSTD_getErrorName(left));
      ZEST_TRY(under_->write({out_.data(), out.pos}));
      if (mode == ZSTD_e_end ? left == 0 : in.pos == in.size) return {};
    }
  }
  std::unique_ptr<Sink> under_;
  ZSTD_CStream* stream_;
  std::vector<char> out_;
};

class FileSource : public Source {
 public:
  FileSource(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~FileSource() override {
    if (fd_ > 0) close(fd_);
  }
  Result<size_t> read(char* into, size_t size) override {
    size_t got = 0;
    while (got < size) {
      auto n = ::read(fd_, into + got, size - got);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(errno, path_.empty() ? "standard input" : path_);
      if (n == 0) break;
      got += static_cast<size_t>(n);
    }
    return got;
  }

 private:
  int fd_;
  const std::string path_;
};

class MemorySource : public Source {
 public:
  explicit MemorySource(std::string_view bytes) : bytes_(bytes) {}
  Result<size_t> read(char* into, size_t size) override {
    size_t n = std::min(size, bytes_.size());
    memcpy(into, bytes_.data(), n);
    bytes_.remove_prefix(n);
    return n;
  }

 private:
  std::string_view bytes_;
};

// Gives back bytes that were looked at.
class PeekedSource : public Source {
 public:
  PeekedSource(std::string head, std::unique_ptr<Source> rest) : head_(std::move(head)), rest_(std::move(rest)) {}
  Result<size_t> read(char* into, size_t size) override {
    size_t n = std::min(size, head_.size() - at_);
    memcpy(into, head_.data() + at_, n);
    at_ += n;
    if (n == size) return n;
    ZEST_ASSIGN(size_t more, rest_->read(into + n, size - n));
    return n + more;
  }

 private:
  std::string head_;
  size_t at_ = 0;
  std::unique_ptr<Source> rest_;
};

class GzipSource : public Source {
 public:
  explicit GzipSource(std::unique_ptr<Source> under) : under_(std::move(under)), in_(kBuffer) {
    inflateInit2(&stream_, 15 + 16);
  }
  ~GzipSource() override { inflateEnd(&stream_); }
  Result<size_t> read(char* into, size_t size) override {
    stream_.next_out = reinterpret_cast<Bytef*>(into);
    stream_.avail_out = static_cast<uInt>(size);
    while (stream_.avail_out > 0 && !ended_) {
      if (stream_.avail_in == 0) {
        ZEST_ASSIGN(size_t n, under_->read(in_.data(), in_.size()));
        if (n == 0) return fail(EINVAL, "the gzip data ends too early");
        stream_.next_in = reinterpret_cast<Bytef*>(in_.data());
        stream_.avail_in = static_cast<uInt>(n);
      }
      int result = inflate(&stream_, Z_NO_FLUSH);
      if (result == Z_STREAM_END)
        ended_ = true;
      else if (result != Z_OK)
        return fail(EINVAL, "broken gzip data");
    }
    return size - stream_.avail_out;
  }

 private:
  std::unique_ptr<Source> under_;
  std::vector<char> in_;
  z_stream stream_{};
  bool ended_ = false;
};

class ZstdSource : public Source {
 public:
  explicit ZstdSource(std::unique_ptr<Source> under)
      : under_(std::move(under)), stream_(ZSTD_createDStream()), in_(ZSTD_DStreamInSize()) {}
  ~ZstdSource() override { ZSTD_freeDStream(stream_); }
  Result<size_t> read(char* into, size_t size) override {
    ZSTD_outBuffer out{into, size, 0};
    while (out.pos < size) {
      if (buffer_.pos == buffer_.size) {
        ZEST_ASSIGN(size_t n, under_->read(in_.data(), in_.size()));
        if (n == 0) {
          if (!frame_done_) return fail(EINVAL, "the zstd data ends too early");
          break;
        }
        buffer_ = {in_.data(), n, 0};
      }
      size_t left = ZSTD_decompressStream(stream_, &out, &buffer_);
      if (ZSTD_isError(left)) return fail(EINVAL, "broken zstd data");
      frame_done_ = left == 0;
    }
    return out.pos;
  }

 private:
  std::unique_ptr<Source> under_;
  ZSTD_DStream* stream_;
  std::vector<char> in_;
  ZSTD_inBuffer buffer_{nullptr, 0, 0};
  bool frame_done_ = false;
};

}  // namespace

Packing packing_of_name(const std::string& file) {
  if (file.ends_with(".gz")) return Packing::kGzip;
  return file.ends_with(".zstd") || file.ends_with(".zst") ? Packing::kZstd : Packing::kNone;
}

Result<std::unique_ptr<Sink>> open_sink(const std::string& path, Packing packing) {
  int fd = STDOUT_FILENO;
  if (!path.empty()) {
    fd = open((path + ".tmp").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return fail(errno, path + ".tmp");
  }
  std::unique_ptr<Sink> sink = std::make_unique<FileSink>(fd, path);
  if (packing == Packing::kGzip) sink = std::make_unique<GzipSink>(std::move(sink));
  if (packing == Packing::kZstd) sink = std::make_unique<ZstdSink>(std::move(sink));
  return sink;
}

Result<std::unique_ptr<Source>> unpacked(std::unique_ptr<Source> source) {
  std::string head(4, '\0');
  ZEST_ASSIGN(size_t n, source->read(head.data(), head.size()));
  head.resize(n);
  bool gzip = head.starts_with("\x1f\x8b"), zstd = head == "\x28\xb5\x2f\xfd";
  std::unique_ptr<Source> whole = std::make_unique<PeekedSource>(std::move(head), std::move(source));
  if (gzip) whole = std::make_unique<GzipSource>(std::move(whole));
  if (zstd) whole = std::make_unique<ZstdSource>(std::move(whole));
  return whole;
}

Result<std::unique_ptr<Source>> open_source(const std::string& path) {
  int fd = STDIN_FILENO;
  if (!path.empty()) {
    fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(errno, path);
  }
  return unpacked(std::make_unique<FileSource>(fd, path));
}

std::unique_ptr<Source> memory_source(std::string_view bytes) { return std::make_unique<MemorySource>(bytes); }

}  // namespace zest::dump
