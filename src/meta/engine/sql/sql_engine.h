// The metadata engines on SQL databases (docs/format/sql.md). `rest` is the metadata URL behind "scheme://".
#pragma once

#include <memory>
#include <string>

#include "meta/txn.h"

namespace zest::meta::sql {

// path[?table_prefix=..&_journal=..&_timeout=..&_sync=..]. The file is made by prepare(), not before.
Result<std::unique_ptr<Engine>> open_sqlite(const std::string& rest, const EngineOptions& options);
// What libpq takes for a URI, and table_prefix, max_open_conns, search_path.
Result<std::unique_ptr<Engine>> open_postgres(const std::string& rest, const EngineOptions& options);
// user[:password]@(host:port)/database, also tcp(..) and unix(..).
Result<std::unique_ptr<Engine>> open_mysql(const std::string& rest, const EngineOptions& options);

}  // namespace zest::meta::sql
