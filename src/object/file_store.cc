#include "object/file_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <utility>

#include "object/file_io.h"
#include "object/file_list.h"
#include "object/file_sync.h"

namespace zest::object {
namespace {

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int close() {
    int done = ::close(fd_);
    fd_ = -1;
    return done;
  }

 private:
  int fd_;
};

// A name that cannot leave the root.
bool safe_key(const std::string& key) {
  if (key.empty() || key.find('\0') != std::string::npos) return false;
  for (size_t begin = 0; begin <= key.size();) {
    size_t end = std::min(key.find('/', begin), key.size());
    if (std::string_view(key).substr(begin, end - begin) == "..") return false;
    begin = end + 1;
  }
  return true;
}

std::string parent_of(const std::string& path) {
  auto slash = path.find_last_of('/', path.find_last_not_of('/'));
  return slash == std::string::npos ? "./" : path.substr(0, slash + 1);
}

uint64_t random_number() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return generator() >> 1;
}

class FileStore : public Storage {
 public:
  explicit FileStore(std::string root)
      : root_(std::move(root)), sync_(root_.ends_with('/') ? root_ : parent_of(root_)) {}

  std::string describe() const override { return "file://" + root_; }

  Result<void> create() override {
    std::string folder = root_.ends_with('/') ? root_ : parent_of(root_);
    if (int code = make_folders(folder)) return fail(code, "create " + folder);
    return {};
  }

  Result<ObjectInfo> head(const std::string& key) override {
    if (!safe_key(key)) return fail(ENOENT);
    struct stat st;
    if (::stat(path(key).c_str(), &st) < 0) return missing() ? fail(ENOENT) : fail(errno, "head " + key);
    if (S_ISDIR(st.st_mode) != key.ends_with('/')) return fail(ENOENT);
    return file_info(key, st);
  }

  Result<std::string> get(const std::string& key, uint64_t offset, uint64_t size) override {
    std::string body;
    uint64_t stored = 0;
    Fd fd(open_object(key, stored));
    if (fd.get() < 0) return open_error(key);
    size_t wanted = offset < stored ? std::min(size, stored - offset) : 0;
    Result<size_t> got = size_t{0};
    body.resize_and_overwrite(wanted, [&](char* buffer, size_t) {
      got = read(fd.get(), key, offset, {buffer, wanted});
      return got.value_or(0);
    });
    if (!got) return fail(std::move(got.error()));
    if (*got < wanted) return fail(EIO, Fault::kUnavailable, "get " + key + ": file was cut while it was read");
    return body;
  }

  Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer, SegmentSums* sums) override {
    if (sums) sums->clear();
    uint64_t stored = 0;
    Fd fd(open_object(key, stored));
    if (fd.get() < 0) return open_error(key);
    if (offset >= stored) return size_t{0};
    return read(fd.get(), key, offset, buffer.subspan(0, std::min<uint64_t>(buffer.size(), stored - offset)));
  }

  Result<void> put(const std::string& key, std::string_view body, const Placement&) override {
    if (!safe_key(key)) return fail(EINVAL, "put " + key + ": no valid key");
    std::string target = path(key), folder = parent_of(target);
    if (key.ends_with('/')) {
      if (int code = make_folders(target)) return fail(code, "put " + key);
      return {};
    }
    std::string temp =
        folder + "." + target.substr(folder.size(), 200) + ".tmp" + std::to_string(random_number() & 0x7fffffff);
    int code = write_file(temp, body);
    if (code == ENOENT) {
      code = make_folders(folder);
      if (code == 0) code = write_file(temp, body);
    }
    if (code == 0 && ::rename(temp.c_str(), target.c_str()) < 0) code = errno;
    if (code) {
      ::unlink(temp.c_str());
      return fail(code, "put " + key);
    }
    sync_.add_folder(std::move(folder));
    sync_.add_file(std::move(target));
    return {};
  }

  Result<void> sync() override { return sync_.sync(); }

  Result<void> remove(const std::string& key) override {
    if (!safe_key(key)) return {};
    std::string target = path(key);
    bool folder = key.ends_with('/');
    int done = folder ? ::rmdir(target.c_str()) : ::unlink(target.c_str());
    // A folder that still has objects, and a folder where an object is meant, are not "there" for the caller.
    if (done == 0 || missing() || errno == EISDIR || (folder && (errno == ENOTEMPTY || errno == EEXIST))) return {};
    struct stat st;
    int code = errno;
    if (!folder && code == EPERM && ::lstat(target.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return {};
    return fail(code, "remove " + key);
  }

  Result<ListPage> list(const std::string& prefix, const std::string& after, const std::string& token, size_t limit,
                        const std::string& delimiter) override {
    if (!delimiter.empty() && delimiter != "/") return fail(ENOTSUP, "list: delimiter " + delimiter);
    if (!prefix.empty() && !safe_key(prefix)) return ListPage{};
    return list_files(root_, prefix, token.empty() ? after : token, limit, !delimiter.empty());
  }

 private:
  std::string path(const std::string& key) const { return root_ + key; }
  static bool missing() { return errno == ENOENT || errno == ENOTDIR; }

  static std::unexpected<Error> open_error(const std::string& key) {
    return missing() ? fail(ENOENT) : fail(errno, "get " + key);
  }

  // A descriptor, or -1 with errno. A folder has an empty body.
  int open_object(const std::string& key, uint64_t& size) const {
    errno = ENOENT;
    if (!safe_key(key)) return -1;
    int fd = ::open(path(key).c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    struct stat st;
    bool bad = ::fstat(fd, &st) < 0;
    if (!bad && S_ISDIR(st.st_mode) && !key.ends_with('/')) {
      bad = true;
      errno = ENOENT;
    }
    if (bad) {
      int code = errno;
      ::close(fd);
      errno = code;
      return -1;
    }
    size = S_ISDIR(st.st_mode) ? 0 : static_cast<uint64_t>(st.st_size);
    return fd;
  }

  static Result<size_t> read(int fd, const std::string& key, uint64_t offset, std::span<char> into) {
    ssize_t got = read_all(fd, offset, into);
    if (got < 0) return fail(errno, "get " + key);
    return static_cast<size_t>(got);
  }

  static int write_file(const std::string& name, std::string_view body) {
    Fd fd(::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (fd.get() < 0) return errno;
    if (int code = write_direct(fd.get(), body)) return code;
    // The disk may begin with large ones, so that a sync finds little to do; small ones may not live that long.
    if (body.size() >= kWriteEarly) ::sync_file_range(fd.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
    return fd.close() < 0 ? errno : 0;
  }

  // mkdir -p
  int make_folders(const std::string& path) {
    struct stat st;
    if (::stat(path.c_str(), &st) == 0) return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
    std::string parent = parent_of(path);
    if (parent != path)
      if (int code = make_folders(parent)) return code;
    if (::mkdir(path.c_str(), 0777) < 0) return errno == EEXIST ? 0 : errno;
    sync_.add_folder(std::move(parent));
    return 0;
  }

  static constexpr size_t kWriteEarly = 1 << 20;
  const std::string root_;
  FileSync sync_;
};

}  // namespace

std::unique_ptr<Storage> make_file_store(std::string root) { return std::make_unique<FileStore>(std::move(root)); }

}  // namespace zest::object
