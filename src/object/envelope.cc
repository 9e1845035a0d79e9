#include "object/envelope.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/bytes.h"

namespace zest::object {
namespace {

constexpr size_t kDataKey = 32, kNonce = 12, kTag = 16, kHeader = 3;
constexpr char kLabel[] = "keys";

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* p) const {
    kFree(p);
  }
};
using Bio = std::unique_ptr<BIO, Free<&BIO_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<&EVP_PKEY_free>>;
using KeyCtx = std::unique_ptr<EVP_PKEY_CTX, Free<&EVP_PKEY_CTX_free>>;
using CipherCtx = std::unique_ptr<EVP_CIPHER_CTX, Free<&EVP_CIPHER_CTX_free>>;

// The data key of one body; wiped when done.
struct DataKey {
  std::array<unsigned char, kDataKey> bytes{};
  ~DataKey() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

const unsigned char* in(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* out(char* text) { return reinterpret_cast<unsigned char*>(text); }

struct Asked {
  const std::string* passphrase;
  bool asked = false;
};
int give_passphrase(char* buffer, int size, int, void* arg) {
  auto* asked = static_cast<Asked*>(arg);
  asked->asked = true;
  if (asked->passphrase->empty() || asked->passphrase->size() > static_cast<size_t>(size)) return -1;
  std::memcpy(buffer, asked->passphrase->data(), asked->passphrase->size());
  return static_cast<int>(asked->passphrase->size());
}

Result<Key> read_key(const std::string& pem, const std::string& passphrase) {
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(std::min<size_t>(pem.size(), 1 << 20))));
  if (!bio) return fail(ENOMEM);
  Asked asked{&passphrase};
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &give_passphrase, &asked));
  ERR_clear_error();
  if (!key && asked.asked && passphrase.empty())
    return fail(EACCES, "the encryption key is protected by a passphrase: set JFS_RSA_PASSPHRASE");
  if (!key && asked.asked) return fail(EACCES, "the passphrase does not open the encryption key");
  if (!key) return fail(EINVAL, "the encryption key is no private key in PEM form");
  if (EVP_PKEY_is_a(key.get(), "SM2")) return fail(ENOTSUP, "SM2 keys cannot be used");
  if (!EVP_PKEY_is_a(key.get(), "RSA")) return fail(EINVAL, "the encryption key is no RSA key");
  // OAEP with SHA-256 takes 66 bytes of the modulus.
  if (EVP_PKEY_get_size(key.get()) < static_cast<int>(kDataKey) + 66) return fail(EINVAL, "the RSA key is too short");
  return key;
}

class RsaEnvelope : public Envelope {
 public:
  RsaEnvelope(Key key, const EVP_CIPHER* cipher) : key_(std::move(key)), cipher_(cipher) {}

  Result<std::string> seal(std::string_view plain) const override {
    DataKey data_key;
    ZEST_ASSIGN(std::string sealed, header(data_key));
    size_t begin = sealed.size();
    bool good = false;
    // The size handed to the callback is not used: libstdc++ 12 gives the capacity there.
    size_t total = begin + plain.size() + kTag;
    sealed.resize_and_overwrite(total, [&](char* buffer, size_t) {
      good = encrypt(data_key, nonce_of(buffer, begin), plain, buffer + begin);
      return good ? total : 0;
    });
    if (!good) return fail(EIO, "encrypt: cipher failed");
    return sealed;
  }

  Result<void> seal_into(std::string_view plain, const std::function<Result<char*>(size_t)>& room) const override {
    DataKey data_key;
    ZEST_ASSIGN(const std::string head, header(data_key));
    ZEST_ASSIGN(char* to, room(head.size() + plain.size() + kTag));
    std::memcpy(to, head.data(), head.size());
    if (!encrypt(data_key, nonce_of(to, head.size()), plain, to + head.size()))
      return fail(EIO, "encrypt: cipher failed");
    return {};
  }

  Result<std::string> unseal(std::string_view sealed) const override {
    ZEST_ASSIGN(auto parts, split(sealed));
    std::string plain;
    Result<size_t> size = size_t{0};
    plain.resize_and_overwrite(parts.body.size(), [&](char* buffer, size_t) {
      size = open_parts(parts, buffer);
      return size.value_or(0);
    });
    if (!size) return fail(std::move(size.error()));
    return plain;
  }

  Result<size_t> unseal_into(std::string_view sealed, std::span<char> into) const override {
    ZEST_ASSIGN(auto parts, split(sealed));
    if (parts.body.size() > into.size()) return fail(ERANGE);
    return open_parts(parts, into.data());
  }

 private:
  struct Parts {
    std::string_view wrapped, nonce, body, tag;
  };

  // A fresh data key, and what stands before the body; the nonce is its end.
  Result<std::string> header(DataKey& data_key) const {
    std::array<unsigned char, kNonce> nonce;
    if (RAND_bytes(data_key.bytes.data(), kDataKey) != 1 || RAND_bytes(nonce.data(), kNonce) != 1)
      return fail(EIO, "encrypt: no random numbers");
    std::string wrapped(static_cast<size_t>(EVP_PKEY_get_size(key_.get())), '\0');
    if (!wrap(data_key, wrapped)) return fail(EIO, "encrypt: cannot wrap the data key");
    std::string head;
    put_be16(head, static_cast<uint16_t>(wrapped.size()));
    put_u8(head, kNonce);
    head += wrapped;
    head.append(reinterpret_cast<const char*>(nonce.data()), kNonce);
    return head;
  }
  static const unsigned char* nonce_of(const char* sealed, size_t header_size) {
    return reinterpret_cast<const unsigned char*>(sealed + header_size - kNonce);
  }

  static Result<Parts> split(std::string_view sealed) {
    ByteReader reader(sealed);
    size_t wrapped_size = reader.be16(), nonce_size = reader.u8();
    Parts parts;
    parts.wrapped = reader.bytes(wrapped_size);
    parts.nonce = reader.bytes(nonce_size);
    if (!reader.ok() || nonce_size != kNonce || reader.left() < kTag)
      return fail(EIO, "decrypt: " + std::to_string(sealed.size()) + " bytes that are no encrypted object");
    parts.body = reader.bytes(reader.left() - kTag);
    parts.tag = reader.bytes(kTag);
    return parts;
  }

  // The body's size; `to` has room for it.
  Result<size_t> open_parts(const Parts& parts, char* to) const {
    DataKey data_key;
    if (!unwrap(parts.wrapped, data_key)) return fail(EIO, "decrypt: the object was encrypted with another key");
    if (!decrypt(data_key, in(parts.nonce), parts.body, parts.tag, to))
      return fail(EIO, "decrypt: the object is damaged");
    return parts.body.size();
  }

  KeyCtx oaep(int (*init)(EVP_PKEY_CTX*)) const {
    KeyCtx ctx(EVP_PKEY_CTX_new(key_.get(), nullptr));
    if (!ctx || init(ctx.get()) <= 0 || EVP_PKEY_CTX_set_rsa_padding(ctx.get(), RSA_PKCS1_OAEP_PADDING) <= 0 ||
        EVP_PKEY_CTX_set_rsa_oaep_md(ctx.get(), EVP_sha256()) <= 0 ||
        EVP_PKEY_CTX_set_rsa_mgf1_md(ctx.get(), EVP_sha256()) <= 0)
      return nullptr;
    void* label = OPENSSL_memdup(kLabel, sizeof(kLabel) - 1);
    if (!label || EVP_PKEY_CTX_set0_rsa_oaep_label(ctx.get(), label, sizeof(kLabel) - 1) <= 0) {
      OPENSSL_free(label);
      return nullptr;
    }
    return ctx;
  }

  bool wrap(const DataKey& data_key, std::string& wrapped) const {
    KeyCtx ctx = oaep(&EVP_PKEY_encrypt_init);
    size_t size = wrapped.size();
    bool good = ctx && EVP_PKEY_encrypt(ctx.get(), out(wrapped.data()), &size, data_key.bytes.data(), kDataKey) > 0;
    wrapped.resize(good ? size : 0);
    ERR_clear_error();
    return good;
  }

  bool unwrap(std::string_view wrapped, DataKey& data_key) const {
    KeyCtx ctx = oaep(&EVP_PKEY_decrypt_init);
    std::string plain(static_cast<size_t>(EVP_PKEY_get_size(key_.get())), '\0');
    size_t size = plain.size();
    bool good = ctx && EVP_PKEY_decrypt(ctx.get(), out(plain.data()), &size, in(wrapped), wrapped.size()) > 0 &&
                size == kDataKey;
    if (good) std::memcpy(data_key.bytes.data(), plain.data(), kDataKey);
    OPENSSL_cleanse(plain.data(), plain.size());
    ERR_clear_error();
    return good;
  }

  // Bodies of any length in steps that fit an int.
  template <class Update>
  static bool in_steps(std::string_view body, char* to, Update update) {
    while (!body.empty()) {
      size_t step = std::min<size_t>(body.size(), 1 << 30);
      int size = 0;
      if (update(out(to), &size, in(body), static_cast<int>(step)) != 1 || size != static_cast<int>(step)) return false;
      to += step;
      body.remove_prefix(step);
    }
    return true;
  }

  bool encrypt(const DataKey& key, const unsigned char* nonce, std::string_view plain, char* to) const {
    CipherCtx ctx(EVP_CIPHER_CTX_new());
    int size = 0;
    char* tag = to + plain.size();
    return ctx && EVP_EncryptInit_ex(ctx.get(), cipher_, nullptr, key.bytes.data(), nonce) == 1 &&
           in_steps(plain, to, [&](auto... args) { return EVP_EncryptUpdate(ctx.get(), args...); }) &&
           EVP_EncryptFinal_ex(ctx.get(), out(tag), &size) == 1 && size == 0 &&
           EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_GET_TAG, kTag, tag) == 1;
  }

  bool decrypt(const DataKey& key, const unsigned char* nonce, std::string_view body, std::string_view tag,
               char* to) const {
    CipherCtx ctx(EVP_CIPHER_CTX_new());
    int size = 0;
    unsigned char rest[kTag];
    std::string copy(tag);
    bool good = ctx && EVP_DecryptInit_ex(ctx.get(), cipher_, nullptr, key.bytes.data(), nonce) == 1 &&
                EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_SET_TAG, kTag, copy.data()) == 1 &&
                in_steps(body, to, [&](auto... args) { return EVP_DecryptUpdate(ctx.get(), args...); }) &&
                EVP_DecryptFinal_ex(ctx.get(), rest, &size) == 1;
    ERR_clear_error();
    return good;
  }

  const Key key_;
  const EVP_CIPHER* const cipher_;
};

}  // namespace

Result<std::shared_ptr<const Envelope>> Envelope::open(const std::string& pem, const std::string& passphrase,
                                                       std::string_view algorithm) {
  const EVP_CIPHER* cipher = nullptr;
  if (algorithm.empty() || algorithm == "aes256gcm-rsa")
    cipher = EVP_aes_256_gcm();
  else if (algorithm == "chacha20-rsa")
    cipher = EVP_chacha20_poly1305();
  else if (algorithm == "sm4gcm")
    return fail(ENOTSUP, "encryption sm4gcm cannot be used");
  else
    return fail(EINVAL, "unknown encryption: " + std::string(algorithm));
  ZEST_ASSIGN(Key key, read_key(pem, passphrase));
  return std::make_shared<const RsaEnvelope>(std::move(key), cipher);
}

}  // namespace zest::object
