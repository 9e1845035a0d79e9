#include "object/file_list.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace zest::object {
namespace {

class Lister {
 public:
  Lister(const std::string& root, const std::string& prefix, const std::string& after, size_t limit, bool folded)
      : root_(root), prefix_(prefix), after_(after), limit_(limit), folded_(folded) {}

  Result<ListPage> run() {
    if (limit_ == 0) return std::move(page_);
    auto slash = prefix_.rfind('/');
    ZEST_TRY(walk(slash == std::string::npos ? "" : prefix_.substr(0, slash + 1)));
    return std::move(page_);
  }

 private:
  // The sorted names of a folder, folders with '/' behind them: then a walk in that order gives keys in byte order.
  Result<std::vector<std::string>> names_of(const std::string& folder) {
    std::vector<std::string> names;
    // When the root is a name's beginning ("/data/x-"), the folder is its parent and the names share that beginning.
    std::string path = root_ + folder, stem;
    if (!path.ends_with('/')) {
      auto slash = path.rfind('/');
      stem = path.substr(slash + 1);
      path.erase(slash + 1);
    }
    std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.empty() ? "." : path.c_str()), &::closedir);
    if (!dir) {
      if (errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == EPERM) return names;
      return fail(errno, "list " + folder);
    }
    for (;;) {
      errno = 0;
      dirent* entry = ::readdir(dir.get());
      if (!entry) break;
      std::string name = entry->d_name;
      if (name == "." || name == ".." || !name.starts_with(stem)) continue;
      bool is_folder = entry->d_type == DT_DIR;
      if (entry->d_type == DT_UNKNOWN) {
        struct stat st;
        if (::fstatat(::dirfd(dir.get()), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) continue;
        is_folder = S_ISDIR(st.st_mode);
      } else if (entry->d_type != DT_DIR && entry->d_type != DT_REG && entry->d_type != DT_LNK) {
        continue;
      }
      name.erase(0, stem.size());
      if (is_folder) name += '/';
      if (!name.empty()) names.push_back(std::move(name));
    }
    if (errno) return fail(errno, "list " + folder);
    std::sort(names.begin(), names.end());
    return names;
  }

  Result<void> walk(const std::string& folder) {
    ZEST_ASSIGN(auto names, names_of(folder));
    for (const auto& name : names) {
      std::string key = folder + name;
      bool is_folder = key.ends_with('/');
      if (is_folder && !folded_) {
        // Keys below it are of interest when they can have the prefix and be greater than `after`.
        bool may_match = key.starts_with(prefix_) || prefix_.starts_with(key);
        bool may_follow = key > after_ || after_.starts_with(key);
        if (may_match && may_follow) ZEST_TRY(walk(key));
      } else if (key.starts_with(prefix_) && key > after_) {
        add(key, is_folder);
      }
      if (!page_.next.empty()) break;
    }
    return {};
  }

  void add(const std::string& key, bool is_folder) {
    ObjectInfo info;
    if (is_folder) {
      info.key = key;
      info.is_dir = true;
    } else {
      struct stat st;
      if (::stat((root_ + key).c_str(), &st) < 0 || !S_ISREG(st.st_mode)) return;
      info = file_info(key, st);
    }
    if (page_.objects.size() == limit_)
      page_.next = page_.objects.back().key;
    else
      page_.objects.push_back(std::move(info));
  }

  const std::string &root_, &prefix_, &after_;
  const size_t limit_;
  const bool folded_;
  ListPage page_;
};

}  // namespace

Result<ListPage> list_files(const std::string& root, const std::string& prefix, const std::string& after, size_t limit,
                            bool folded) {
  return Lister(root, prefix, after, limit, folded).run();
}

ObjectInfo file_info(std::string key, const struct stat& st) {
  ObjectInfo info;
  info.key = std::move(key);
  info.is_dir = S_ISDIR(st.st_mode);
  info.size = info.is_dir ? 0 : static_cast<uint64_t>(st.st_size);
  info.mtime = {st.st_mtim.tv_sec, static_cast<uint32_t>(st.st_mtim.tv_nsec)};
  return info;
}

}  // namespace zest::object
