#include "volume/secrets.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>
#include <cstring>
#include <memory>

namespace zest {

namespace {

constexpr size_t kNonce = 12, kTag = 16, kKey = 16;
using Block = std::array<uint8_t, 16>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

bool is_sm4(std::string_view algo) { return algo == "sm4gcm"; }

Result<Block> derive_key(std::string_view uuid, std::string_view algo) {
  std::string text(uuid);
  if (is_sm4(algo)) text += std::string("\0\0\0\1", 4);
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> md(EVP_MD_fetch(nullptr, is_sm4(algo) ? "SM3" : "MD5", nullptr),
                                                     EVP_MD_free);
  if (!md || EVP_Digest(text.data(), text.size(), digest, &size, md.get(), nullptr) != 1 || size < kKey)
    return fail(ENOTSUP, "this OpenSSL cannot derive the key of the secrets");
  Block key;
  std::memcpy(key.data(), digest, kKey);
  return key;
}

// OpenSSL 3.0 has SM4 but not SM4-GCM, and the secrets are a few kilobytes at most: GCM (NIST SP 800-38D) over the bare
// block cipher, plain and slow.
class PlainGcm {
 public:
  PlainGcm(const EVP_CIPHER* ecb, const Block& key) : context_(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free) {
    ok_ = context_ && ecb && EVP_EncryptInit_ex(context_.get(), ecb, nullptr, key.data(), nullptr) == 1;
    h_ = encrypt(Block{});
  }
  bool ok() const { return ok_; }

  // The counter mode: its own inverse.
  std::string transform(std::string_view nonce, std::string_view text) {
    std::string out(text);
    for (size_t at = 0; at < out.size(); at += 16) {
      Block pad = encrypt(counter_block(nonce, static_cast<uint32_t>(at / 16 + 2)));
      for (size_t i = 0; i < 16 && at + i < out.size(); i++) out[at + i] = static_cast<char>(out[at + i] ^ pad[i]);
    }
    return out;
  }

  std::string tag(std::string_view nonce, std::string_view ciphertext) {
    Block y{};
    for (size_t at = 0; at < ciphertext.size(); at += 16) {
      for (size_t i = 0; i < 16 && at + i < ciphertext.size(); i++) y[i] ^= static_cast<uint8_t>(ciphertext[at + i]);
      y = multiply(y, h_);
    }
    uint64_t bits = uint64_t{ciphertext.size()} * 8;
    for (size_t i = 0; i < 8; i++) y[15 - i] ^= static_cast<uint8_t>(bits >> (8 * i));
    y = multiply(y, h_);
    Block pad = encrypt(counter_block(nonce, 1));
    std::string out(16, '\0');
    for (size_t i = 0; i < 16; i++) out[i] = static_cast<char>(y[i] ^ pad[i]);
    return out;
  }

 private:
  static Block counter_block(std::string_view nonce, uint32_t counter) {
    Block block{};
    std::memcpy(block.data(), nonce.data(), kNonce);
    for (size_t i = 0; i < 4; i++) block[15 - i] = static_cast<uint8_t>(counter >> (8 * i));
    return block;
  }
  static Block multiply(const Block& x, Block v) {
    Block z{};
    for (size_t bit = 0; bit < 128; bit++) {
      if (x[bit / 8] >> (7 - bit % 8) & 1)
        for (size_t i = 0; i < 16; i++) z[i] ^= v[i];
      bool carry = v[15] & 1;
      for (size_t i = 15; i > 0; i--) v[i] = static_cast<uint8_t>(v[i] >> 1 | v[i - 1] << 7);
      v[0] >>= 1;
      if (carry) v[0] ^= 0xE1;
    }
    return z;
  }
  Block encrypt(const Block& in) {
    uint8_t out[32];
    int n = 0;
    ok_ = ok_ && EVP_EncryptUpdate(context_.get(), out, &n, in.data(), 16) == 1 && n == 16;
    Block block{};
    if (ok_) std::memcpy(block.data(), out, 16);
    return block;
  }
  CipherContext context_;
  Block h_{};
  bool ok_ = false;
};

Result<std::string> sm4_seal(const Block& key, std::string_view nonce, std::string_view plain) {
  PlainGcm gcm(EVP_sm4_ecb(), key);
  std::string out = gcm.transform(nonce, plain);
  out += gcm.tag(nonce, out);
  if (!gcm.ok()) return fail(ENOTSUP, "this OpenSSL has no SM4");
  return out;
}

Result<std::string> sm4_open(const Block& key, std::string_view nonce, std::string_view text, std::string_view tag) {
  PlainGcm gcm(EVP_sm4_ecb(), key);
  std::string expected = gcm.tag(nonce, text);
  std::string plain = gcm.transform(nonce, text);
  if (!gcm.ok()) return fail(ENOTSUP, "this OpenSSL has no SM4");
  if (CRYPTO_memcmp(expected.data(), tag.data(), kTag) != 0) return fail(EACCES, "a secret cannot be decrypted");
  return plain;
}

auto bytes(std::string_view s) { return reinterpret_cast<const uint8_t*>(s.data()); }
auto bytes(std::string& s) { return reinterpret_cast<uint8_t*>(s.data()); }

Result<std::string> aes_seal(const Block& key, std::string_view nonce, std::string_view plain) {
  CipherContext context(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  std::string out(plain.size() + kTag, '\0');
  int n = 0, rest = 0;
  if (!context || EVP_EncryptInit_ex(context.get(), EVP_aes_128_gcm(), nullptr, key.data(), bytes(nonce)) != 1 ||
      EVP_EncryptUpdate(context.get(), bytes(out), &n, bytes(plain), static_cast<int>(plain.size())) != 1 ||
      EVP_EncryptFinal_ex(context.get(), bytes(out) + n, &rest) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTag, bytes(out) + plain.size()) != 1)
    return fail(EIO, "encrypting a secret failed");
  return out;
}

Result<std::string> aes_open(const Block& key, std::string_view nonce, std::string_view text, std::string_view tag) {
  CipherContext context(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  std::string out(text.size() + 16, '\0'), tag_copy(tag);
  int n = 0, rest = 0;
  if (!context || EVP_DecryptInit_ex(context.get(), EVP_aes_128_gcm(), nullptr, key.data(), bytes(nonce)) != 1 ||
      EVP_DecryptUpdate(context.get(), bytes(out), &n, bytes(text), static_cast<int>(text.size())) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTag, tag_copy.data()) != 1 ||
      EVP_DecryptFinal_ex(context.get(), bytes(out) + n, &rest) != 1)
    return fail(EACCES, "a secret cannot be decrypted");
  out.resize(static_cast<size_t>(n + rest));
  return out;
}

std::string to_base64(std::string_view data) {
  std::string out((data.size() + 2) / 3 * 4 + 1, '\0');
  int n = EVP_EncodeBlock(bytes(out), bytes(data), static_cast<int>(data.size()));
  out.resize(static_cast<size_t>(n));
  return out;
}

Result<std::string> from_base64(std::string_view text) {
  std::string out(text.size() / 4 * 3 + 3, '\0');
  int n = text.size() % 4 ? -1 : EVP_DecodeBlock(bytes(out), bytes(text), static_cast<int>(text.size()));
  size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  if (n < static_cast<int>(padding)) return fail(EINVAL, "a stored secret is no base64");
  out.resize(static_cast<size_t>(n) - padding);
  return out;
}

}  // namespace

Result<std::string> seal_secret(std::string_view uuid, std::string_view algo, std::string_view plain,
                                std::string_view nonce) {
  ZEST_ASSIGN(Block key, derive_key(uuid, algo));
  std::string used(nonce);
  if (used.size() != kNonce) {
    used.assign(kNonce, '\0');
    if (RAND_bytes(bytes(used), static_cast<int>(kNonce)) != 1) return fail(EIO, "no random numbers");
  }
  ZEST_ASSIGN(std::string text, is_sm4(algo) ? sm4_seal(key, used, plain) : aes_seal(key, used, plain));
  return to_base64(used + text);
}

Result<std::string> open_secret(std::string_view uuid, std::string_view algo, std::string_view sealed) {
  if (sealed == kRemovedSecret) return fail(EACCES, "secret was removed");
  ZEST_ASSIGN(std::string data, from_base64(sealed));
  if (data.size() < kNonce + kTag) return fail(EINVAL, "a stored secret is too short");
  ZEST_ASSIGN(Block key, derive_key(uuid, algo));
  std::string_view view(data);
  auto nonce = view.substr(0, kNonce), tag = view.substr(data.size() - kTag);
  auto text = view.substr(kNonce, data.size() - kNonce - kTag);
  return is_sm4(algo) ? sm4_open(key, nonce, text, tag) : aes_open(key, nonce, text, tag);
}

}  // namespace zest
