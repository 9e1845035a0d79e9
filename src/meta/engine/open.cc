// Which engine a metadata URL means. Knows the schemes only; each engine reads the rest of its URL.
#include <cctype>

#include "base/log.h"
#include "meta/engine/kv/etcd_json.h"
#include "meta/engine/kv/kv_engine.h"
#include "meta/engine/kv/memory.h"
#include "meta/engine/redis/redis_engine.h"
#include "meta/engine/sql/sql_engine.h"
#include "meta/txn.h"

namespace zest::meta {

// "NAME", or "NAME?load=FILE": filled from a listing of etcd's keys, unless somebody has it open already.
static Result<std::unique_ptr<Engine>> open_memory(const std::string& rest) {
  auto query = rest.find("?load=");
  auto store = kv::shared_memory_store(rest.substr(0, query));
  if (query != std::string::npos && store->dump().empty()) ZEST_TRY(kv::load_etcd_json(rest.substr(query + 6), *store));
  return kv::make_kv_engine(std::move(store));
}

Result<std::unique_ptr<Engine>> open_engine(const std::string& url, const EngineOptions& options) {
  size_t end = url.find("://");
  if (end == std::string::npos)
    return fail(EINVAL, "metadata URL \"" + mask_secrets(url) + "\" has no scheme (sqlite3://, redis://, ...)");
  std::string scheme = url.substr(0, end), rest = url.substr(end + 3);
  for (char& c : scheme) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (scheme == "memkv") return open_memory(rest);
  if (scheme == "sqlite3" || scheme == "sqlite") return sql::open_sqlite(rest, options);
  if (scheme == "postgres" || scheme == "postgresql") return sql::open_postgres(rest, options);
  if (scheme == "mysql") return sql::open_mysql(rest, options);
  if (scheme == "redis" || scheme == "rediss" || scheme == "unix") return redis::open_redis(url, options);
  return fail(EINVAL, "unknown metadata engine \"" + scheme + "\" in " + mask_secrets(url));
}

}  // namespace zest::meta
