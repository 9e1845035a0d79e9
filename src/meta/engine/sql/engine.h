// The tables of docs/format/sql.md: sqlite3://, postgres://, mysql://.
#pragma once

#include <memory>
#include <string>

#include "meta/txn.h"

namespace zest::meta {

Result<std::unique_ptr<Engine>> open_sql_engine(const std::string& url, const EngineOptions& options);

}  // namespace zest::meta
