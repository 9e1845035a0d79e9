// A volume in memory for the tests of data/: engine, store with faults, and the content layer on top.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "data/data.h"
#include "meta/api.h"
#include "object/faulty.h"
#include "object/open.h"

namespace zest::data::testing {

// A folder of its own, removed at the end.
struct Folder {
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "zest-data-XXXXXX";
    path = ::mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

// A file system of `size` on `dir`.
struct SmallDisk {
  SmallDisk(std::string dir, const std::string& size) : dir(std::move(dir)) {
    mounted = ::mount("zest-test", this->dir.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
  }
  ~SmallDisk() { ::umount2(dir.c_str(), MNT_DETACH); }
  void make_read_only(bool on) {
    ASSERT_EQ(::mount("zest-test", dir.c_str(), "tmpfs", MS_REMOUNT | (on ? MS_RDONLY : 0), ""), 0);
  }
  const std::string dir;
  bool mounted = false;
};

// A file system on `dir` that does not answer, until it is gone.
struct HangingDisk {
  explicit HangingDisk(std::string dir) : dir(std::move(dir)), kernel(::open("/dev/fuse", O_RDWR | O_CLOEXEC)) {
    auto options = "fd=" + std::to_string(kernel) + ",rootmode=40000,user_id=0,group_id=0";
    mounted = ::mount("zest-test", this->dir.c_str(), "fuse.zest-test", 0, options.c_str()) == 0;
  }
  ~HangingDisk() { answer(); }
  void answer() {
    if (!mounted) return;
    ::umount2(dir.c_str(), MNT_DETACH);
    ::close(kernel);
    mounted = false;
  }
  const std::string dir;
  const int kernel;
  bool mounted = false;
};

struct Volume {
  explicit Volume(DataOptions options = small(), std::string compression = "none", int block_kib = 64,
                  std::string engine = "") {
    static std::atomic<int> counter{0};
    url = engine.empty() ? "memkv://data-test-" + std::to_string(counter++) : engine;
    Format format;
    format.name = "testvol";
    format.uuid = "11111111-2222-4333-8444-555555555555";
    format.storage = "mem";
    format.bucket = "mem";
    format.block_size_kib = block_kib;
    format.compression = compression;
    format.trash_days = 0;
    meta = std::make_unique<meta::Meta>(must(meta::open_engine(url, {})), system_clock(), meta_options());
    EXPECT_TRUE(meta->format(format, false));
    EXPECT_TRUE(meta->load());
    faults = std::make_shared<object::Faults>();
    shared_store = std::shared_ptr<object::Storage>(must(object::open_store("mem", "mem", {}, {})));
    open(options);
  }
  ~Volume() { close(); }

  void open(const DataOptions& options) {
    data = must(Data::open(*meta, object::with_faults(std::make_unique<Borrowed>(shared_store), faults), system_clock(),
                           options));
    meta->set_data_hooks(data.get());
  }
  void close() {
    if (!data) return;
    (void)data->flush_all();
    meta->drain_deletes();
    (void)meta->close_session();  // ends compactions, which use the data
    (void)data->close();
    meta->set_data_hooks(nullptr);
    data.reset();
  }

  static DataOptions small() {
    DataOptions options;
    options.buffer_size = 32 << 20;
    options.cache.size_bytes = 0;
    options.max_downloads = 8;
    options.max_uploads = 4;
    options.io_retries = 2;
    return options;
  }
  static meta::Options meta_options() {
    meta::Options options;
    options.no_background_jobs = true;
    options.heartbeat_ms = 0;
    return options;
  }
  static DataOptions with_disk(const Folder& folder) {
    DataOptions options = small();
    options.cache.dirs = {folder.path};
    options.cache.size_bytes = 64 << 20;
    options.cache.free_space_ratio = 0.0001;
    return options;
  }
  template <class T>
  static T must(Result<T> result) {
    if (!result) {
      ADD_FAILURE() << result.error().message();
      std::abort();
    }
    return std::move(*result);
  }

  Ino create(const std::string& name) {
    return must(meta->create({}, kRootIno, name, 0644, 0, true, 2 /* O_RDWR */)).entry.ino;
  }
  uint64_t length(Ino ino) {
    uint64_t buffered = data->length(ino, 0);
    return std::max(buffered, data->length(ino, must(meta->getattr({}, ino)).length));
  }
  Result<void> write(Ino ino, uint64_t offset, std::string_view text) {
    return data->write(ino, offset, std::span(text.data(), text.size()), nullptr);
  }
  // Written and committed.
  Result<void> save(Ino ino, uint64_t offset, std::string_view text) {
    ZEST_TRY(write(ino, offset, text));
    return data->flush(ino, nullptr);
  }
  Ino file(const std::string& name, std::string_view text) {
    Ino ino = create(name);
    EXPECT_TRUE(save(ino, 0, text));
    return ino;
  }
  Result<std::string> read(Ino ino, uint64_t offset, size_t size) {
    auto handle = data->open_reader(ino);
    return read(*handle, ino, offset, size);
  }
  Result<std::string> read(ReadHandle& handle, Ino ino, uint64_t offset, size_t size) {
    std::string text(size, '\xee');
    auto n = data->read(handle, length(ino), offset, std::span(text.data(), text.size()), nullptr);
    if (!n) return fail(std::move(n.error()));
    text.resize(*n);
    return text;
  }
  size_t objects() {
    size_t n = 0;
    EXPECT_TRUE(object::list_all(*shared_store, "", [&](const object::ObjectInfo&) { return ++n > 0; }));
    return n;
  }

  // The store of a volume outlives its Data, so that a test can open it again.
  struct Borrowed : object::Storage {
    explicit Borrowed(std::shared_ptr<object::Storage> inner) : inner(std::move(inner)) {}
    std::string describe() const override { return inner->describe(); }
    Result<void> create() override { return inner->create(); }
    Result<object::ObjectInfo> head(const std::string& key) override { return inner->head(key); }
    Result<std::string> get(const std::string& key, uint64_t offset, uint64_t size) override {
      return inner->get(key, offset, size);
    }
    Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer,
                            object::SegmentSums* sums) override {
      return inner->get_into(key, offset, buffer, sums);
    }
    Result<void> put(const std::string& key, std::string_view body, const object::Placement& where) override {
      return inner->put(key, body, where);
    }
    Result<void> remove(const std::string& key) override { return inner->remove(key); }
    Result<object::ListPage> list(const std::string& prefix, const std::string& after, const std::string& token,
                                  size_t limit, const std::string& delimiter) override {
      return inner->list(prefix, after, token, limit, delimiter);
    }
    std::shared_ptr<object::Storage> inner;
  };

  std::string url;
  std::unique_ptr<meta::Meta> meta;
  std::shared_ptr<object::Faults> faults;
  std::shared_ptr<object::Storage> shared_store;
  std::unique_ptr<Data> data;
};

// Text whose every place tells where it belongs.
inline std::string pattern(size_t size, uint64_t seed) {
  std::string text(size, '\0');
  uint64_t x = seed * 0x9E3779B97F4A7C15 + 1;
  for (auto& c : text) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    c = static_cast<char>(x);
  }
  return text;
}

// Slices are frozen when nothing was written for a second. A test that looks at how writes were joined holds only while
// the machine was quicker than that.
class Quick {
 public:
  bool still() const { return std::chrono::steady_clock::now() - start_ < std::chrono::milliseconds(900); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

inline bool eventually(const std::function<bool()>& condition, int seconds = 60) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace zest::data::testing
