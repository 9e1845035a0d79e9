#include "cli/zip_writer.h"

#include <minizip/zip.h>

#include <ctime>
#include <filesystem>
#include <fstream>

namespace zest::cli {
namespace {

Result<void> add_file(zipFile archive, const std::filesystem::path& file, const std::string& name) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(errno ? errno : EIO, "open " + file.string());
  zip_fileinfo info{};
  time_t now = time(nullptr);
  std::tm tm{};
  localtime_r(&now, &tm);
  auto part = [](int value) { return static_cast<unsigned>(value); };
  info.tmz_date = {part(tm.tm_sec),  part(tm.tm_min), part(tm.tm_hour),
                   part(tm.tm_mday), part(tm.tm_mon), part(tm.tm_year + 1900)};
  auto bad = [&] { return fail(EIO, "write the archive: " + name); };
  if (zipOpenNewFileInZip64(archive, name.c_str(), &info, nullptr, 0, nullptr, 0, nullptr, Z_DEFLATED,
                            Z_DEFAULT_COMPRESSION, 1) != ZIP_OK)
    return bad();
  char buffer[64 * 1024];
  while (in.read(buffer, sizeof buffer), in.gcount() > 0)
    if (zipWriteInFileInZip(archive, buffer, static_cast<unsigned>(in.gcount())) != ZIP_OK) return bad();
  if (zipCloseFileInZip(archive) != ZIP_OK) return bad();
  return {};
}

}  // namespace

Result<void> zip_folder(const std::string& folder, const std::string& archive) {
  namespace fs = std::filesystem;
  zipFile zip = zipOpen64(archive.c_str(), APPEND_STATUS_CREATE);
  if (!zip) return fail(errno ? errno : EIO, "create " + archive);
  auto result = [&]() -> Result<void> {
    std::error_code error;
    auto top = fs::path(folder).parent_path();
    for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
      if (it->is_regular_file()) ZEST_TRY(add_file(zip, it->path(), it->path().lexically_relative(top).string()));
    if (error) return fail(error.value(), "read " + folder);
    return {};
  }();
  if (zipClose(zip, nullptr) != ZIP_OK && result) result = fail(EIO, "write " + archive);
  return result;
}

}  // namespace zest::cli
