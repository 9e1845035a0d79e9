#include "object/encrypt.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/mapped_file.h"
#include "object/decorator.h"

namespace zest::object {
namespace {

class Encrypt : public Decorator {
 public:
  Encrypt(std::unique_ptr<Storage> inner, std::shared_ptr<const Envelope> envelope)
      : Decorator(std::move(inner)), envelope_(std::move(envelope)) {}

  Limits limits() const override {
    Limits limits;  // parts would have to be sealed one by one
    limits.placement = inner_->limits().placement;
    return limits;
  }

  Result<std::string> get(const std::string& key, uint64_t offset, uint64_t size) override {
    ZEST_ASSIGN(std::string sealed, inner_->get(key));
    ZEST_ASSIGN(std::string plain, opened(key, std::move(sealed)));
    if (offset >= plain.size()) return std::string();
    if (offset == 0 && size >= plain.size()) return plain;
    return plain.substr(offset, size);
  }

  Result<size_t> get_into(const std::string& key, uint64_t offset, std::span<char> buffer, SegmentSums* sums) override {
    if (sums) sums->clear();
    ZEST_ASSIGN(std::string sealed, inner_->get(key));
    if (offset == 0 && !in_the_clear(key, sealed)) {
      auto size = envelope_->unseal_into(sealed, buffer);
      if (size) return size;
      if (size.error().code != ERANGE) return name(key, std::move(size.error()));
    }
    ZEST_ASSIGN(std::string plain, opened(key, std::move(sealed)));
    if (offset >= plain.size()) return size_t{0};
    return plain.copy(buffer.data(), buffer.size(), offset);
  }

  Result<void> put(const std::string& key, std::string_view body, const Placement& where) override {
    if (body.size() >= kLarge) return put_large(key, body, where);
    auto sealed = envelope_->seal(body);
    if (!sealed) return name(key, std::move(sealed.error()));
    return inner_->put(key, *sealed, where);
  }

  Result<std::string> start_multipart(const std::string&) override { return fail(ENOTSUP); }
  Result<Part> put_part(const std::string&, const std::string&, int, std::string_view) override {
    return fail(ENOTSUP);
  }
  Result<void> finish_multipart(const std::string&, const std::string&, std::span<const Part>) override {
    return fail(ENOTSUP);
  }

 private:
  // Larger than any block: a backup of the metadata. Sealed in a temporary file.
  static constexpr size_t kLarge = 32 << 20;
  Result<void> put_large(const std::string& key, std::string_view body, const Placement& where) {
    std::optional<MappedFile> sealed;
    auto done = envelope_->seal_into(body, [&](size_t size) -> Result<char*> {
      ZEST_ASSIGN(auto file, MappedFile::temporary(size));
      return sealed.emplace(std::move(file)).data();
    });
    if (!done) return name(key, std::move(done.error()));
    return inner_->put(key, sealed->view(), where);
  }

  static std::unexpected<Error> name(const std::string& key, Error error) {
    error.what = key + ": " + error.what;
    return fail(std::move(error));
  }

  static bool in_the_clear(const std::string& key, const std::string& body) {
    // Large metadata backups of other clients went around encryption.
    if (key.starts_with("meta/") && body.starts_with("\x1f\x8b")) return true;
    return key.ends_with('/') && body.empty();  // a folder of a file-like store
  }

  Result<std::string> opened(const std::string& key, std::string sealed) {
    if (in_the_clear(key, sealed)) return sealed;
    auto plain = envelope_->unseal(sealed);
    if (!plain) return name(key, std::move(plain.error()));
    return plain;
  }

  const std::shared_ptr<const Envelope> envelope_;
};

}  // namespace

std::unique_ptr<Storage> with_encryption(std::unique_ptr<Storage> inner, std::shared_ptr<const Envelope> envelope) {
  return std::make_unique<Encrypt>(std::move(inner), std::move(envelope));
}

}  // namespace zest::object
