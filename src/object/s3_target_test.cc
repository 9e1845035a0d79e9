#include "object/s3_target.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "object/test_dir.h"

namespace zest::object {
namespace {

using Vars = std::map<std::string, std::string>;

GetEnv env_of(Vars vars) {
  return [vars](const char* name) {
    auto it = vars.find(name);
    return it == vars.end() ? std::string() : it->second;
  };
}

struct Expected {
  const char* argument;
  const char* url;  // scheme, host and path that requests go to
  const char* region;
};

TEST(S3Target, Buckets) {
  constexpr Expected kCases[] = {
      {"mybucket", "https://mybucket.s3.us-east-1.amazonaws.com/", "us-east-1"},
      {"https://mybucket.s3.eu-west-1.amazonaws.com", "https://mybucket.s3.eu-west-1.amazonaws.com/", "eu-west-1"},
      {"mybucket.s3-eu-west-1.amazonaws.com", "https://mybucket.s3.eu-west-1.amazonaws.com/", "eu-west-1"},
      {"my.bucket.s3.amazonaws.com", "https://s3.us-east-1.amazonaws.com/my.bucket/", "us-east-1"},
      {"https://s3.us-west-2.amazonaws.com/mybucket/x", "https://mybucket.s3.us-west-2.amazonaws.com/", "us-west-2"},
      {"https://mybucket.s3.dualstack.us-west-2.amazonaws.com", "https://mybucket.s3.us-west-2.amazonaws.com/",
       "us-west-2"},
      {"https://s3-external-1.amazonaws.com/mybucket", "https://mybucket.s3.us-east-1.amazonaws.com/", "us-east-1"},
      {"https://mybucket.s3-accelerate.amazonaws.com", "https://mybucket.s3-accelerate.amazonaws.com/", "us-east-1"},
      {"https://s3-fips.us-gov-west-1.amazonaws.com/mybucket", "https://mybucket.s3-fips.us-gov-west-1.amazonaws.com/",
       "us-gov-west-1"},
      {"https://[::1]:9000/mybucket", "https://[::1]:9000/mybucket/", "us-east-1"},
      {"https://mybucket.s3.cn-north-1.amazonaws.com.cn", "https://mybucket.s3.cn-north-1.amazonaws.com.cn/",
       "cn-north-1"},
      {"https://bkt.bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com",
       "https://bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com/bkt/", "eu-central-1"},
      {"http://127.0.0.1:9000/mybucket", "http://127.0.0.1:9000/mybucket/", "us-east-1"},
      {"127.0.0.1:9000/mybucket/", "http://127.0.0.1:9000/mybucket/", "us-east-1"},
      {"https://mybucket.storage.example.com:8443", "https://storage.example.com:8443/mybucket/", "us-east-1"},
      {"https://ns.compat.objectstorage.ap-tokyo-1.oraclecloud.com/b1",
       "https://ns.compat.objectstorage.ap-tokyo-1.oraclecloud.com/b1/", "ap-tokyo-1"},
      {"https://b1.s3.gra.cloud.ovh.net", "https://s3.gra.cloud.ovh.net/b1/", "gra"},
  };
  for (const auto& one : kCases) {
    auto target = parse_s3_bucket(one.argument, false, env_of({}));
    ASSERT_TRUE(target) << one.argument << ": " << target.error().message();
    EXPECT_EQ(target->scheme + "://" + target->host() + target->base_path(), one.url) << one.argument;
    EXPECT_EQ(target->region, one.region) << one.argument;
  }
  for (auto bad : {"", "https://", "ftp://host/bucket", "http://127.0.0.1:9000", "http://user:pw@host/bucket", "host."})
    EXPECT_EQ(code_of(parse_s3_bucket(bad, false, env_of({}))), EINVAL) << bad;
}

TEST(S3Target, Minio) {
  auto target = parse_s3_bucket("minio:9000/minio/mybucket?region=here", true, env_of({{"MINIO_REGION", "there"}}));
  ASSERT_TRUE(target);
  EXPECT_EQ(target->scheme + "://" + target->host() + target->base_path(), "http://minio:9000/mybucket/");
  EXPECT_EQ(target->region, "here");
  EXPECT_EQ(parse_s3_bucket("h:9000/b", true, env_of({{"MINIO_REGION", "there"}}))->region, "there");
  EXPECT_EQ(parse_s3_bucket("https://h/b", true, env_of({}))->scheme, "https");
  EXPECT_EQ(code_of(parse_s3_bucket("h:9000", true, env_of({}))), EINVAL);
}

TEST(S3Target, Environment) {
  EXPECT_EQ(parse_s3_bucket("b", false, env_of({{"AWS_REGION", "r1"}, {"AWS_DEFAULT_REGION", "r2"}}))->region, "r1");
  EXPECT_EQ(parse_s3_bucket("b", false, env_of({{"AWS_DEFAULT_REGION", "r2"}}))->region, "r2");
  auto vhost = parse_s3_bucket("http://store.example.com/b", false, env_of({{"JFS_S3_VHOST_STYLE", "1"}}));
  EXPECT_EQ(vhost->host() + vhost->base_path(), "b.store.example.com/");
  EXPECT_TRUE(parse_s3_bucket("h.x/b", false, env_of({{"JFS_S3_VHOST_STYLE", "false"}}))->path_style);
  auto options = parse_s3_bucket(
      "https://h.x/b?tls-insecure-skip-verify=true&ca-certs=%2Fca.pem&ssl-cert=/c&ssl-key=/k&disable-checksum=true",
      false, env_of({}));
  ASSERT_TRUE(options);
  EXPECT_TRUE(options->tls.insecure);
  EXPECT_EQ(options->tls.ca, "/ca.pem");
  EXPECT_EQ(options->tls.cert + options->tls.cert_key, "/c/k");
  EXPECT_FALSE(options->checksum);
  EXPECT_EQ(parse_s3_bucket("https://h.x/b", false, env_of({{"AWS_CA_BUNDLE", "/b.pem"}}))->tls.ca, "/b.pem");
  EXPECT_TRUE(parse_s3_bucket("https://h.x/b", false, env_of({{"ZEST_S3_INSECURE_TLS", "1"}}))->tls.insecure);
}

TEST(S3Target, RegionOfTheConfigFile) {
  TestDir dir;
  std::ofstream(dir.path() + "/config") << "[default]\nregion = r-default\n[profile work]\nregion=r-work\n";
  Vars vars = {{"AWS_CONFIG_FILE", dir.path() + "/config"}};
  EXPECT_EQ(parse_s3_bucket("b", false, env_of(vars))->region, "r-default");
  vars["AWS_PROFILE"] = "work";
  EXPECT_EQ(parse_s3_bucket("b", false, env_of(vars))->region, "r-work");
  vars["AWS_REGION"] = "r-env";
  EXPECT_EQ(parse_s3_bucket("b", false, env_of(vars))->region, "r-env");
}

TEST(S3Credentials, Order) {
  TestDir dir;
  std::ofstream(dir.path() + "/credentials") << "# comment\n[default]\naws_access_key_id = FILE\n"
                                                "aws_secret_access_key=s=ecret\n\n[other]\naws_access_key_id=OTHER\n"
                                                "aws_secret_access_key = x\naws_session_token = tok\n";
  Vars vars = {{"AWS_SHARED_CREDENTIALS_FILE", dir.path() + "/credentials"}};
  auto found = find_s3_credentials({}, false, env_of(vars));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->access_key, "FILE");
  EXPECT_EQ(found->secret_key, "s=ecret");
  vars["AWS_PROFILE"] = "other";
  EXPECT_EQ(find_s3_credentials({}, false, env_of(vars))->session_token, "tok");
  vars["AWS_PROFILE"] = "missing";
  EXPECT_EQ(code_of(find_s3_credentials({}, false, env_of(vars))), EACCES);
  vars["AWS_ACCESS_KEY_ID"] = "ENV";
  vars["AWS_SECRET_ACCESS_KEY"] = "es";
  EXPECT_EQ(find_s3_credentials({}, false, env_of(vars))->access_key, "ENV");
  vars["MINIO_ACCESS_KEY"] = "MIN";
  EXPECT_EQ(find_s3_credentials({}, false, env_of(vars))->access_key, "ENV");
  EXPECT_EQ(find_s3_credentials({}, true, env_of(vars))->access_key, "MIN");
  EXPECT_EQ(find_s3_credentials({"GIVEN", "gs", "gt"}, true, env_of(vars))->access_key, "GIVEN");
  EXPECT_TRUE(find_s3_credentials({"anonymous", {}, {}}, false, env_of(vars))->anonymous);
}

}  // namespace
}  // namespace zest::object
