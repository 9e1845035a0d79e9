// What only the SQL engines have: files and their neighbours, schemas of other versions, URLs.
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "engines.h"
#include "meta/txn.h"
#include "servers.h"
#include "volume/format.h"

namespace zest::meta {
namespace {

std::string path_of(const std::string& url) { return url.substr(std::string("sqlite3://").size()); }

std::unique_ptr<Engine> open(const std::string& url, EngineOptions options = {}) {
  auto engine = open_engine(url, options);
  EXPECT_TRUE(engine) << engine.error().message();
  return engine ? std::move(*engine) : nullptr;
}

std::unique_ptr<Engine> open_prepared(const std::string& url) {
  auto engine = open(url);
  if (!engine) return nullptr;
  auto prepared = engine->prepare();
  EXPECT_TRUE(prepared) << prepared.error().message();
  return engine;
}

Result<CommitResult> put(Engine& engine, const Key& key, const Value& value) {
  return run(engine, system_clock(), {}, [&](Txn& txn) -> Result<void> {
    txn.put(key, value);
    return {};
  });
}

Result<Value> get(Engine& engine, const Key& key) {
  Value out;
  ZEST_TRY(read(engine, system_clock(), [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(const Value* value, txn.get(key));
    out = *value;
    return {};
  }));
  return out;
}

Result<CommitResult> add_one(Engine& engine, Ino ino) {
  return run(engine, system_clock(), {}, [&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto attr, txn.attr(ino));
    if (!attr) return fail(ENOENT);
    attr->length++;
    txn.put_attr(ino, *attr);
    return {};
  });
}

// Statements on the file, behind the engine's back; gives the first column.
std::vector<std::string> sqlite(const std::string& path, const std::string& sql) {
  sqlite3* db = nullptr;
  std::vector<std::string> out;
  EXPECT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  sqlite3_busy_timeout(db, 60'000);
  char* error = nullptr;
  auto row = [](void* to, int, char** columns, char**) {
    static_cast<std::vector<std::string>*>(to)->push_back(columns[0] ? columns[0] : "");
    return 0;
  };
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), row, &out, &error), SQLITE_OK) << (error ? error : "");
  sqlite3_free(error);
  sqlite3_close(db);
  return out;
}

TEST(SqliteFile, OpeningMakesNoFile) {
  std::string url = fresh_sqlite_url();
  auto engine = open(url);
  ASSERT_TRUE(engine);
  auto setting = get(*engine, Key::setting());
  ASSERT_TRUE(setting) << setting.error().message();
  EXPECT_EQ(*setting, Value());
  EXPECT_TRUE(engine->ping());
  EXPECT_FALSE(std::filesystem::exists(path_of(url)));
  EXPECT_FALSE(put(*engine, Key::setting(), std::string("{}")));
  EXPECT_FALSE(std::filesystem::exists(path_of(url)));
}

TEST(SqliteFile, ADatabaseOfSomethingElseIsLeftAlone) {
  std::string url = fresh_sqlite_url(), path = path_of(url);
  sqlite(path, "CREATE TABLE letters(a); INSERT INTO letters VALUES('x')");
  auto bytes = [&] {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  };
  const std::string before = bytes();
  {
    auto engine = open(url);
    auto setting = get(*engine, Key::setting());
    ASSERT_TRUE(setting) << setting.error().message();
    EXPECT_EQ(*setting, Value());
  }
  EXPECT_EQ(bytes(), before);
  EXPECT_FALSE(std::filesystem::exists(path + "-wal"));
}

TEST(SqliteFile, AFileThatIsNoDatabase) {
  std::string url = fresh_sqlite_url();
  std::ofstream(path_of(url)) << std::string(5000, 'x');
  auto engine = open(url);
  EXPECT_EQ(code_of(get(*engine, Key::setting())), EINVAL);
}

// A volume whose tables were made by a client before 1.4.
void without_tiers(const std::string& url) {
  open_prepared(url);
  sqlite(path_of(url), "ALTER TABLE jfs_node DROP COLUMN tier_id");
}

TEST(SqliteFile, WhatAnotherClientAddsToTheTablesIsFound) {
  const std::string url = fresh_sqlite_url();
  without_tiers(url);
  auto early = open(url), late = open(url);
  Format format;
  format.name = "tiered";
  format.tiers[2] = {2, "IA", ""};
  ASSERT_TRUE(put(*early, Key::setting(), *dump_format(format)));
  ASSERT_TRUE(get(*early, Key::inode(Ino{5})));
  Attr attr;
  attr.tier = 2;
  ASSERT_TRUE(put(*late, Key::inode(Ino{5}), attr));
  ASSERT_TRUE(get(*early, Key::setting()));  // as a client does every heartbeat
  auto found = get(*early, Key::inode(Ino{5}));
  ASSERT_TRUE(found);
  EXPECT_EQ(2, std::get<Attr>(*found).tier);
}

TEST(SqliteFile, ReadOnlyClientsChangeNothing) {
  std::string url = fresh_sqlite_url();
  auto engine = open_prepared(url);
  ASSERT_TRUE(put(*engine, Key::counter("usedSpace"), int64_t{5}));
  EngineOptions options;
  options.read_only = true;
  auto reader = open(url, options);
  EXPECT_EQ(get(*reader, Key::counter("usedSpace")).value_or(Value()), Value(int64_t{5}));
  EXPECT_EQ(code_of(put(*reader, Key::counter("usedSpace"), int64_t{6})), EROFS);
  EXPECT_EQ(code_of(reader->prepare()), EROFS);
}

TEST(SqliteFile, SeveralProcessesShareIt) {
  std::string url = fresh_sqlite_url();
  auto engine = open_prepared(url);
  ASSERT_TRUE(put(*engine, Key::inode(Ino{2}), Attr{}));
  engine.reset();  // connections must not cross a fork
  std::vector<pid_t> children;
  for (int c = 0; c < 3; c++) {
    pid_t pid = ::fork();
    if (pid == 0) {
      auto mine = open_engine(url, {});
      bool ok = mine.has_value();
      for (int i = 0; ok && i < 40; i++) ok = add_one(**mine, Ino{2}).has_value();
      ::_exit(ok ? 0 : 1);
    }
    children.push_back(pid);
  }
  for (pid_t pid : children) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
  engine = open(url);
  EXPECT_EQ(std::get<Attr>(*get(*engine, Key::inode(Ino{2}))).length, 120u);
}

TEST(SqliteFile, SyncLeavesTheLogOnDisk) {
  std::string url = fresh_sqlite_url();
  auto engine = open_prepared(url);
  ASSERT_TRUE(put(*engine, Key::inode(Ino{2}), Attr{}));
  auto synced = engine->sync();
  EXPECT_TRUE(synced) << synced.error().message();
  EXPECT_EQ(sqlite(path_of(url), "PRAGMA journal_mode"), std::vector<std::string>{"wal"});
}

// The tables are those of the reference: names, columns, keys.
TEST(SqliteSchema, IsTheOneOfTheFormat) {
  std::string url = fresh_sqlite_url();
  auto engine = open_prepared(url);
  auto columns = [&](const std::string& table) {
    std::string all;
    for (const auto& column :
         sqlite(path_of(url),
                "SELECT name||' '||type||(CASE WHEN \"notnull\" THEN '!' ELSE '' END) FROM pragma_table_info('" +
                    table + "')"))
      all += (all.empty() ? "" : ", ") + column;
    return all;
  };
  EXPECT_EQ(
      columns("jfs_node"),
      "inode INTEGER!, type INTEGER!, flags INTEGER!, mode INTEGER!, uid INTEGER!, gid INTEGER!, atime INTEGER!, "
      "mtime INTEGER!, ctime INTEGER!, atimensec INTEGER!, mtimensec INTEGER!, ctimensec INTEGER!, nlink INTEGER!, "
      "length INTEGER!, rdev INTEGER, parent INTEGER, access_acl_id INTEGER, default_acl_id INTEGER, tier_id INTEGER");
  EXPECT_EQ(columns("jfs_edge"), "id INTEGER!, parent INTEGER!, name BLOB!, inode INTEGER!, type INTEGER!");
  EXPECT_EQ(columns("jfs_xattr"), "id INTEGER!, inode INTEGER!, name TEXT!, value BLOB!");
  EXPECT_EQ(
      columns("jfs_acl"),
      "id INTEGER!, owner INTEGER, group INTEGER, mask INTEGER, other INTEGER, named_users BLOB, named_groups BLOB");
  EXPECT_EQ(sqlite(path_of(url), "SELECT name FROM sqlite_master WHERE type='index' AND sql IS NOT NULL ORDER BY name"),
            (std::vector<std::string>{"IDX_jfs_chunk_ref_refs", "IDX_jfs_edge_inode", "UQE_jfs_chunk_chunk",
                                      "UQE_jfs_edge_edge", "UQE_jfs_flock_flock", "UQE_jfs_plock_plock",
                                      "UQE_jfs_sustained_sustained", "UQE_jfs_xattr_name"}));
  EXPECT_EQ(sqlite(path_of(url), "SELECT count(*) FROM sqlite_master WHERE type='table' AND name LIKE 'jfs%'"),
            std::vector<std::string>{"18"});
  ASSERT_TRUE(engine->prepare());  // twice is once
}

TEST(SqliteSchema, ColumnsAndTablesOfOtherVersionsAreTolerated) {
  std::string url = fresh_sqlite_url();
  without_tiers(url);
  auto engine = open(url);
  ASSERT_TRUE(put(*engine, Key::inode(Ino{2}), Attr{}));
  sqlite(path_of(url),
         "ALTER TABLE jfs_node ADD tier_id INTEGER NULL; ALTER TABLE jfs_node ADD mood TEXT NULL; CREATE TABLE "
         "jfs_change_log(id)");
  // this client does not know of the tier yet, and leaves it alone
  ASSERT_TRUE(add_one(*engine, Ino{2}));
  sqlite(path_of(url), "UPDATE jfs_node SET tier_id=3, rdev=NULL, access_acl_id=NULL WHERE inode=2");
  ASSERT_TRUE(add_one(*engine, Ino{2}));
  auto fresh = open(url);
  auto attr = std::get<Attr>(*get(*fresh, Key::inode(Ino{2})));
  EXPECT_EQ(attr.tier, 3);
  EXPECT_EQ(attr.length, 2u);
  ASSERT_TRUE(add_one(*fresh, Ino{2}));
  EXPECT_EQ(std::get<Attr>(*get(*fresh, Key::inode(Ino{2}))).tier, 3);
}

TEST(SqliteSchema, AVolumeOfAnOldClientIsCompleted) {
  std::string url = fresh_sqlite_url(), path = path_of(url);
  {
    auto engine = open_prepared(url);
    Attr attr;
    attr.length = 77;
    ASSERT_TRUE(put(*engine, Key::inode(Ino{2}), attr));
  }
  std::string old = "DROP TABLE jfs_acl; DROP TABLE jfs_detached_node; DROP TABLE jfs_dir_stats;";
  for (std::string column : {"atimensec", "mtimensec", "ctimensec", "access_acl_id", "default_acl_id", "tier_id"})
    old += "ALTER TABLE jfs_node DROP COLUMN " + column + ";";
  sqlite(path, old);
  auto engine = open(url);
  ASSERT_TRUE(add_one(*engine, Ino{2}));
  EXPECT_EQ(std::get<Attr>(get(*engine, Key::inode(Ino{2})).value_or(Value(Attr{}))).length, 78u);
  EXPECT_TRUE(put(*engine, Key::dir_stat(Ino{1}), DirStat{}));
}

TEST(SqliteSchema, TheRecordsOfTheFormat) {
  std::string url = fresh_sqlite_url(), path = path_of(url);
  auto engine = open_prepared(url);
  Attr attr;
  attr.atime = {1577934245, 123456789};
  attr.mtime = {-1, 5000};
  ASSERT_TRUE(put(*engine, Key::inode(Ino{2}), attr));
  EXPECT_EQ(sqlite(path, "SELECT atime||' '||atimensec||' '||mtime||' '||mtimensec FROM jfs_node"),
            std::vector<std::string>{"1577934245123456 789 -999995 0"});
  ASSERT_TRUE(put(*engine, Key::xattr(Ino{2}, "user.a"), std::string("v")));
  ASSERT_TRUE(put(*engine, Key::entry(Ino{1}, "a"), Entry{FileType::kFile, Ino{2}}));
  EXPECT_EQ(sqlite(path, "SELECT typeof(name)||typeof(value) FROM jfs_xattr"), std::vector<std::string>{"textblob"});
  EXPECT_EQ(sqlite(path, "SELECT typeof(name)||type FROM jfs_edge"), std::vector<std::string>{"blob1"});
  ASSERT_TRUE(put(*engine, Key::flocks(Ino{2}), FlockMap{{{1, 0xaff259a068d9a9bd}, 'W'}}));
  EXPECT_EQ(sqlite(path, "SELECT owner||' '||ltype FROM jfs_flock"),
            std::vector<std::string>{"-5768449627219449411 87"});
  ASSERT_TRUE(put(*engine, Key::acl(1), AclRule{6, 4, 6, 4, {{1000, 6}}, {}}));
  EXPECT_EQ(sqlite(path, "SELECT hex(named_users)||typeof(named_groups) FROM jfs_acl"),
            std::vector<std::string>{"000003E80006blob"});
}

TEST(Urls, BadOnesAreRefusedWithoutTheirSecrets) {
  for (std::string url :
       {"sqlite3://", "mysql://u:hush@host/db", "mysql://u:hush@(host:99999)/db", "mysql://u:hush@(host)/",
        "nothing://u:hush@h/1", "postgres://u:hush@h:port/db%zz", "postgres://u:hush@h/db?search_path=a,b",
        "sqlite3://x?table_prefix=a'b", "sqlite3://x?_timeout=soon"}) {
    auto engine = open_engine(url, {});
    ASSERT_FALSE(engine) << url;
    EXPECT_EQ(engine.error().code, EINVAL) << url;
    EXPECT_EQ(engine.error().message().find("hush"), std::string::npos) << engine.error().message();
  }
}

void sql_on_postgres(const std::string& sql) {
  auto& server = testing_servers::PostgresServer::shared();
  PGconn* db = PQconnectdb(server.url("").c_str());
  PGresult* result = PQexec(db, sql.c_str());
  EXPECT_TRUE(PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK)
      << PQerrorMessage(db);
  PQclear(result);
  PQfinish(db);
}

TEST(PostgresUrl, SearchPath_postgres) {
  sql_on_postgres("CREATE SCHEMA \"Own One\"");
  auto& server = testing_servers::PostgresServer::shared();
  const std::string url = server.url("search_path=Own%20One");
  auto engine = open_prepared(url);
  ASSERT_TRUE(put(*engine, Key::setting(), std::string("{}")));
  auto again = open(url);
  EXPECT_EQ(get(*again, Key::setting()).value_or(Value()), Value(std::string("{}")));
  auto elsewhere = open(server.url("search_path=public"));
  EXPECT_EQ(get(*elsewhere, Key::setting()).value_or(Value(true)), Value());
  sql_on_postgres("SELECT 1 FROM \"Own One\".jfs_setting");
}

TEST(PostgresUrl, VariablesOfTheServer_postgres) {
  const auto& server = testing_servers::PostgresServer::shared();
  sql_on_postgres("CREATE SCHEMA \"back\\slash\"");
  for (std::string more : {"", "&work_mem=1MB", "&work_mem=1MB&options=-c%20geqo%3Doff"}) {
    auto engine = open_prepared(server.url("search_path=back%5Cslash" + more));
    EXPECT_TRUE(put(*engine, Key::setting(), std::string("{}")));
  }
  sql_on_postgres("SELECT 1 FROM \"back\\slash\".jfs_setting");
  auto engine = open(server.url("no_such_variable=1"));
  EXPECT_NE(code_of(get(*engine, Key::setting())), 0);
}

// "Not formatted" would be no help.
TEST(PostgresUrl, SomebodyWithoutRightsIsToldSo_postgres) {
  const auto& server = testing_servers::PostgresServer::shared();
  open_prepared(server.url("table_prefix=rights"));
  sql_on_postgres("CREATE ROLE stranger LOGIN");
  auto engine = open("postgres://stranger@/postgres?table_prefix=rights&host=" + server.folder());
  EXPECT_EQ(code_of(get(*engine, Key::setting())), EACCES);
  EXPECT_EQ(code_of(engine->prepare()), EACCES);
}

int64_t ask_postgres(const std::string& sql) {
  PGconn* db = PQconnectdb(testing_servers::PostgresServer::shared().url("").c_str());
  PGresult* result = PQexec(db, sql.c_str());
  EXPECT_EQ(PQresultStatus(result), PGRES_TUPLES_OK) << PQerrorMessage(db);
  const int64_t number = std::atoll(PQgetvalue(result, 0, 0));
  PQclear(result);
  PQfinish(db);
  return number;
}

// Plans are kept with their statements.
TEST(PostgresPlans, OfASmallTableAreGoodForALargeOne_postgres) {
  {
    auto engine = open_prepared(testing_servers::PostgresServer::shared().url("table_prefix=plans"));
    for (uint64_t i = 2; i < 30; i++) ASSERT_TRUE(put(*engine, Key::inode(Ino{i}), Attr{}));
    sql_on_postgres("ANALYZE jfs_plans_node");
    for (int i = 0; i < 20; i++) ASSERT_TRUE(add_one(*engine, Ino{2}));
    sql_on_postgres(
        "INSERT INTO jfs_plans_node(inode,type,flags,mode,uid,gid,atime,mtime,ctime,nlink,length) SELECT "
        "i,1,0,0,0,0,0,0,0,1,0 FROM generate_series(100,5000) i");
    for (int i = 0; i < 20; i++) ASSERT_TRUE(add_one(*engine, Ino{2}));
  }
  const std::string counted = " FROM pg_stat_user_tables WHERE relname='jfs_plans_node'";
  const int64_t end = system_clock().monotonic_ms() + 20'000;
  while (ask_postgres("SELECT n_tup_upd" + counted) < 40 && system_clock().monotonic_ms() < end)
    system_clock().sleep_ms(50);
  EXPECT_EQ(ask_postgres("SELECT n_tup_upd" + counted), 40);
  EXPECT_LT(ask_postgres("SELECT seq_tup_read" + counted), 5000);
}

// What only a burst of work needed is left to other clients.
void expect_few_connections(const std::string& url, const std::function<int()>& connections) {
  auto engine = open_prepared(url);
  const int before = connections();
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; t++)
    threads.emplace_back([&, t] {
      const int64_t end = system_clock().monotonic_ms() + 20'000;
      for (uint64_t i = 0; connections() < before + 3 && system_clock().monotonic_ms() < end; i++)
        ASSERT_TRUE(put(*engine, Key::inode(Ino{static_cast<uint64_t>(t) * 100'000 + i + 2}), Attr{}));
    });
  for (auto& thread : threads) thread.join();
  EXPECT_GE(connections(), before + 3);
  system_clock().sleep_ms(1200);
  ASSERT_TRUE(get(*engine, Key::setting()));
  const int64_t end = system_clock().monotonic_ms() + 20'000;
  while (connections() > 1 && system_clock().monotonic_ms() < end) system_clock().sleep_ms(20);
  EXPECT_EQ(connections(), 1);
}

TEST(Connections, ThoseLongUnusedAreClosed_postgres) {
  auto& server = testing_servers::PostgresServer::shared();
  expect_few_connections(server.url("table_prefix=idle&application_name=idle&max_idle_time=1"), [] {
    return static_cast<int>(ask_postgres("SELECT count(*) FROM pg_stat_activity WHERE application_name='idle'"));
  });
}

TEST(PostgresSchema, SerialsGoOnBehindIdsThatWereGiven_postgres) {
  auto& server = testing_servers::PostgresServer::shared();
  auto engine = open_prepared(server.url("table_prefix=serial"));
  ASSERT_TRUE(put(*engine, Key::acl(5), AclRule{7, 5, kAclAbsent, 0, {}, {}}));
  // As the reference stores a rule: by the table's own serial number.
  sql_on_postgres(
      "INSERT INTO jfs_serial_acl(owner,\"group\",mask,other,named_users,named_groups) VALUES(1,1,1,1,'','')");
  EXPECT_NE(get(*engine, Key::acl(6)).value_or(Value()), Value());
  EXPECT_EQ(get(*engine, Key::counter(counter::kAclMaxId)).value_or(Value()), Value(int64_t{6}));
}

TEST(PostgresSchema, ATableThatChangesWhileStatementsArePrepared_postgres) {
  auto& server = testing_servers::PostgresServer::shared();
  open_prepared(server.url("table_prefix=changing"));
  sql_on_postgres("ALTER TABLE jfs_changing_node DROP COLUMN tier_id");
  auto engine = open(server.url("table_prefix=changing"));
  ASSERT_TRUE(put(*engine, Key::setting(), std::string("{}")));
  ASSERT_TRUE(put(*engine, Key::inode(Ino{2}), Attr{}));
  ASSERT_TRUE(add_one(*engine, Ino{2}));
  sql_on_postgres("ALTER TABLE jfs_changing_node ADD tier_id INTEGER NULL");
  sql_on_postgres("ALTER TABLE jfs_changing_setting ALTER value TYPE VARCHAR(4096)");
  ASSERT_TRUE(add_one(*engine, Ino{2}));
  auto setting = get(*engine, Key::setting());
  ASSERT_TRUE(setting) << setting.error().message();
  EXPECT_EQ(*setting, Value(std::string("{}")));
}

void sql_on_mariadb(const std::string& sql) {
  testing_servers::Child client;
  client.start({"mariadb", "--no-defaults", "--socket=" + testing_servers::MariadbServer::shared().socket(), "-uroot",
                "zest", "-e", sql},
               "/dev/null");
  EXPECT_EQ(client.wait(), 0) << sql;
}

// The names of extended attributes are text in the tables that the reference made.
void expect_exact_xattrs(const std::string& collation) {
  auto engine = open_prepared(testing_servers::MariadbServer::shared().url("table_prefix=" + collation));
  sql_on_mariadb("ALTER TABLE jfs_" + collation + "_xattr MODIFY name VARCHAR(255) COLLATE " + collation + " NOT NULL");
  auto key = [](const char* name) { return Key::xattr(Ino{2}, name); };
  ASSERT_TRUE(put(*engine, key("user.a"), std::string("1")));
  for (const char* other : {"user.A", "user.a "}) {
    EXPECT_EQ(get(*engine, key(other)).value_or(Value(true)), Value()) << other;
    auto refused = put(*engine, key(other), std::string("2"));
    EXPECT_EQ(code_of(refused), EINVAL) << other;
    EXPECT_NE(refused.error().message().find("collation"), std::string::npos) << refused.error().message();
    auto read_first = run(*engine, system_clock(), {}, [&](Txn& txn) -> Result<void> {
      ZEST_TRY(txn.get(key(other)));
      txn.put(key(other), std::string("3"));
      return {};
    });
    EXPECT_EQ(code_of(read_first), EINVAL) << other;
    ASSERT_TRUE(run(*engine, system_clock(), {}, [&](Txn& txn) -> Result<void> {
      txn.erase(key(other));
      return {};
    }));
    EXPECT_EQ(get(*engine, key("user.a")).value_or(Value()), Value(std::string("1"))) << other;
  }
  ASSERT_TRUE(put(*engine, key("user.a"), std::string("4")));
  EXPECT_EQ(get(*engine, key("user.a")).value_or(Value()), Value(std::string("4")));
  ASSERT_TRUE(put(*engine, key("user.\xc3\xb1"), std::string("5")));
  EXPECT_EQ(get(*engine, key("user.\xc3\xb1")).value_or(Value()), Value(std::string("5")));
}

TEST(MysqlXattrs, AreExactInTextColumns_mysql) {
  expect_exact_xattrs("utf8mb4_general_ci");
  expect_exact_xattrs("latin1_swedish_ci");
}

// What is longer than the server's longest packet goes in several.
TEST(MysqlPackets, AreNoLongerThanTheServerTakes_mysql) {
  sql_on_mariadb("SET GLOBAL max_allowed_packet=1048576");
  auto engine = open_prepared(testing_servers::MariadbServer::shared().url("table_prefix=packet"));
  XattrMap all;
  for (int i = 0; i < 30; i++) all["user." + std::to_string(i)] = std::string(65'000, static_cast<char>(i));
  auto change = [&](const std::function<Result<void>(Txn&)>& body) {
    TxnOptions options;
    options.deadline_ms = 10'000;
    return run(*engine, system_clock(), options, body);
  };
  auto made = change([&](Txn& txn) -> Result<void> {
    for (const auto& [name, value] : all) txn.put(Key::xattr(Ino{2}, name), value);
    txn.add_stat(Key::dir_stat(Ino{2}), DirStat{1, 1, 1});  // asks for the number of rows
    return {};
  });
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(made->missing.size(), 1u);
  auto compared = change([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto found, txn.xattrs(Ino{2}));
    EXPECT_EQ(found, all);
    for (const auto& [name, value] : found) txn.put(Key::xattr(Ino{3}, name), value);
    return {};
  });
  ASSERT_TRUE(compared) << compared.error().message();
  // All or nothing, also when what fails is in the last packet.
  auto failing = change([&](Txn& txn) -> Result<void> {
    for (const auto& [name, value] : all) txn.put(Key::xattr(Ino{4}, name), value);
    Attr attr;
    attr.uid = 5;
    txn.put_attr(Ino{5}, attr);
    txn.put(Key::symlink(Ino{4}), std::string(5000, 'x'));  // longer than the column
    return {};
  });
  EXPECT_EQ(code_of(failing), EINVAL);
  EXPECT_EQ(get(*engine, Key::xattr(Ino{4}, "user.0")).value_or(Value(true)), Value());
  auto too_long = change([&](Txn& txn) -> Result<void> {
    txn.put(Key::xattr(Ino{5}, "user.a"), std::string(600'000, 'x'));
    return {};
  });
  EXPECT_EQ(code_of(too_long), EINVAL);
  EXPECT_NE(too_long.error().message().find("max_allowed_packet"), std::string::npos) << too_long.error().message();
  sql_on_mariadb("SET GLOBAL max_allowed_packet=16777216");
}

// The format's columns are signed and of 32 bits; an administrator may have widened them.
void expect_wide_ids(const std::string& url, const std::function<void()>& widen) {
  Attr attr;
  attr.uid = 0xFFFFFFF0, attr.gid = 0x80000001, attr.rdev = 0x90000000;
  {
    auto engine = open_prepared(url);
    auto refused = put(*engine, Key::inode(Ino{2}), attr);
    EXPECT_EQ(code_of(refused), EINVAL);
    EXPECT_NE(refused.error().message().find("4294967280"), std::string::npos) << refused.error().message();
    EXPECT_EQ(get(*engine, Key::inode(Ino{2})).value_or(Value(true)), Value());
  }
  widen();
  auto engine = open(url);
  ASSERT_TRUE(put(*engine, Key::inode(Ino{2}), attr));
  ASSERT_TRUE(add_one(*engine, Ino{2}));  // compared in the commit, too
  attr.length++;
  EXPECT_EQ(get(*engine, Key::inode(Ino{2})).value_or(Value()), Value(attr));
}

TEST(WideIds, WhereTheColumnsHoldThem_postgres) {
  expect_wide_ids(testing_servers::PostgresServer::shared().url("table_prefix=wide"), [] {
    sql_on_postgres("ALTER TABLE jfs_wide_node ALTER uid TYPE BIGINT, ALTER gid TYPE BIGINT, ALTER rdev TYPE BIGINT");
  });
}

TEST(WideIds, WhereTheColumnsHoldThem_mysql) {
  expect_wide_ids(testing_servers::MariadbServer::shared().url("table_prefix=wide"), [] {
    sql_on_mariadb(
        "ALTER TABLE jfs_wide_node MODIFY uid INT UNSIGNED NOT NULL, MODIFY gid BIGINT NOT NULL, MODIFY rdev INT "
        "UNSIGNED NULL");
  });
}

// Names are bytes: those that differ in case or trailing blanks only are different names, as are those of an xattr.
void expect_exact_names(const std::string& url, bool any_xattr_name) {
  auto engine = open_prepared(url);
  std::string every;
  for (int c = 1; c < 256; c++) every += static_cast<char>(c);
  uint64_t number = 1;
  std::map<std::string, uint64_t> names;
  for (const std::string& name : {std::string("a"), std::string("A"), std::string("a "), std::string("a  "),
                                  std::string("\xc3\xa4"), std::string("a\xff"), std::string("a\\'\"%?$1"), every})
    names[name] = ++number;
  auto xattr_name = [](const std::string& name) { return ("user." + name).substr(0, 255); };
  for (const auto& [name, ino] : names) {
    ASSERT_TRUE(put(*engine, Key::entry(Ino{1}, name), Entry{FileType::kFile, Ino{ino}}));
    auto xattr = put(*engine, Key::xattr(Ino{2}, xattr_name(name)), name);
    const bool valid = name.find_first_of("\xff\x80") == std::string::npos;
    EXPECT_EQ(code_of(xattr), valid || any_xattr_name ? 0 : EINVAL) << name;
  }
  for (const auto& [name, ino] : names) {
    EXPECT_EQ(get(*engine, Key::entry(Ino{1}, name)).value_or(Value()), Value(Entry{FileType::kFile, Ino{ino}}));
    const bool valid = name.find_first_of("\xff\x80") == std::string::npos;
    EXPECT_EQ(get(*engine, Key::xattr(Ino{2}, xattr_name(name))).value_or(Value(true)),
              valid || any_xattr_name ? Value(name) : Value());
  }
  EXPECT_EQ(get(*engine, Key::entry(Ino{1}, "a   ")).value_or(Value(true)), Value());
  EXPECT_EQ(get(*engine, Key::entry(Ino{1}, "\xc3\x84")).value_or(Value(true)), Value());
  std::string cursor;
  std::map<std::string, uint64_t> listed;
  auto page = engine->list(Ino{1}, cursor, 100, false);
  ASSERT_TRUE(page);
  for (const auto& entry : *page) listed[entry.name] = raw(entry.entry.ino);
  EXPECT_EQ(listed, names);
}

TEST(Names, AreExact) {
  for (const std::string& url : {fresh_sqlite_url(), fresh_memory_url()}) expect_exact_names(url, true);
}
TEST(Names, AreExact_mysql) { expect_exact_names(testing_servers::MariadbServer::shared().fresh_url(), true); }
// A text column holds no others there.
TEST(Names, AreExact_postgres) { expect_exact_names(testing_servers::PostgresServer::shared().fresh_url(), false); }

}  // namespace
}  // namespace zest::meta
