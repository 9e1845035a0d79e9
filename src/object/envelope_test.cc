#include "object/envelope.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/bytes.h"
#include "object/contract.h"
#include "object/encrypt.h"
#include "object/mem_store.h"

namespace zest::object {
namespace {

constexpr char kPassphrase[] = "open sesame";

EVP_PKEY* test_key() {
  static EVP_PKEY* key = EVP_RSA_gen(2048);
  return key;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

std::string pem(EVP_PKEY* key, bool pkcs8, bool encrypted) {
  BIO* bio = BIO_new(BIO_s_mem());
  auto* pass = reinterpret_cast<unsigned char*>(const_cast<char*>(kPassphrase));
  const EVP_CIPHER* cipher = encrypted ? EVP_aes_256_cbc() : nullptr;
  int size = encrypted ? static_cast<int>(sizeof(kPassphrase) - 1) : 0;
  if (pkcs8)
    PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, reinterpret_cast<char*>(encrypted ? pass : nullptr), size, nullptr,
                                  nullptr);
  else
    PEM_write_bio_PrivateKey_traditional(bio, key, cipher, encrypted ? pass : nullptr, size, nullptr, nullptr);
  return text_of(bio);
}

TEST(Envelope, FourFormsOfTheKeyAndBothCiphers) {
  std::string first;
  for (bool pkcs8 : {false, true})
    for (bool encrypted : {false, true})
      for (auto algorithm : {"aes256gcm-rsa", "chacha20-rsa", ""}) {
        auto envelope = Envelope::open(pem(test_key(), pkcs8, encrypted), kPassphrase, algorithm);
        ASSERT_TRUE(envelope) << envelope.error().message();
        std::string plain = pattern(1000);
        auto sealed = (*envelope)->seal(plain);
        ASSERT_TRUE(sealed);
        EXPECT_EQ(sealed->size(), plain.size() + 287);
        EXPECT_EQ(to_hex(sealed->substr(0, 3)), "01000c");
        EXPECT_EQ((*envelope)->unseal(*sealed).value(), plain);
      }
}

TEST(Envelope, SizesAreExact) {
  auto envelope = Envelope::open(pem(test_key(), true, false), "", "").value();
  for (size_t size = 0; size < 70; size++) {
    auto sealed = envelope->seal(pattern(size)).value();
    EXPECT_EQ(sealed.size(), size + 287);
    EXPECT_EQ(envelope->unseal(sealed).value(), pattern(size));
  }
}

TEST(Envelope, BadKeys) {
  EXPECT_EQ(code_of(Envelope::open(pem(test_key(), true, true), "wrong", "")), EACCES);
  EXPECT_EQ(code_of(Envelope::open(pem(test_key(), false, true), "wrong", "")), EACCES);
  for (bool pkcs8 : {false, true}) {
    auto missing = Envelope::open(pem(test_key(), pkcs8, true), "", "");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, EACCES);
    EXPECT_NE(missing.error().what.find("JFS_RSA_PASSPHRASE"), std::string::npos);
  }
  EXPECT_EQ(code_of(Envelope::open("no key", "", "")), EINVAL);
  EXPECT_EQ(code_of(Envelope::open(pem(test_key(), true, false), "", "rot13")), EINVAL);
  EXPECT_EQ(code_of(Envelope::open(pem(test_key(), true, false), "", "sm4gcm")), ENOTSUP);
  EVP_PKEY* ec = EVP_EC_gen("P-256");
  EXPECT_EQ(code_of(Envelope::open(pem(ec, true, false), "", "")), EINVAL);
  EVP_PKEY_free(ec);
}

TEST(Envelope, DamageIsFound) {
  auto envelope = Envelope::open(pem(test_key(), true, false), "", "").value();
  auto sealed = envelope->seal("some plain text").value();
  EXPECT_NE(envelope->seal("some plain text").value(), sealed) << "fresh key and nonce for each";
  for (size_t at :
       {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{200}, size_t{260}, sealed.size() - 17, sealed.size() - 1}) {
    std::string bad = sealed;
    bad[at] ^= 1;
    EXPECT_EQ(code_of(envelope->unseal(bad)), EIO) << at;
  }
  for (size_t size : {size_t{0}, size_t{2}, size_t{3}, size_t{100}, size_t{271}, size_t{286}, sealed.size() - 1})
    EXPECT_EQ(code_of(envelope->unseal(sealed.substr(0, size))), EIO) << size;
  EXPECT_EQ(envelope->unseal(envelope->seal("").value()).value(), "");
  EVP_PKEY* other = EVP_RSA_gen(2048);
  EXPECT_EQ(code_of(Envelope::open(pem(other, true, false), "", "").value()->unseal(sealed)), EIO);
  EVP_PKEY_free(other);
}

struct Layers {
  std::unique_ptr<Storage> store;
  Storage* bare;
};
Layers encrypted_mem(const char* algorithm) {
  auto mem = make_mem_store();
  Storage* bare = mem.get();
  return {with_encryption(std::move(mem), Envelope::open(pem(test_key(), true, false), "", algorithm).value()), bare};
}

TEST(Encrypt, StoresNothingInTheClear) {
  auto layers = encrypted_mem("");
  ASSERT_TRUE(layers.store->put("k", "secret text"));
  auto raw = layers.bare->get("k").value();
  EXPECT_EQ(raw.size(), 11u + 287);
  EXPECT_EQ(raw.find("secret"), std::string::npos);
  EXPECT_EQ(code_of(layers.store->start_multipart("k")), ENOTSUP);
}

TEST(Encrypt, ErrorsNameTheKeyAndPlainBackupsAreRead) {
  auto layers = encrypted_mem("");
  std::string gzip = "\x1f\x8b rest of a gzip file";
  ASSERT_TRUE(layers.bare->put("meta/dump-2026-01-01-000000.json.gz", gzip));
  ASSERT_TRUE(layers.bare->put("chunks/x", gzip));
  EXPECT_EQ(layers.store->get("meta/dump-2026-01-01-000000.json.gz").value(), gzip);
  auto bad = layers.store->get("chunks/x");
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().what.find("chunks/x"), std::string::npos);
}

const StorageCase kCases[] = {
    {"aes", [] { return std::shared_ptr<Storage>(encrypted_mem("").store); }, false},
    {"chacha", [] { return std::shared_ptr<Storage>(encrypted_mem("chacha20-rsa").store); }, false},
};
INSTANTIATE_TEST_SUITE_P(Encrypted, StorageContract, testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace zest::object
