// Statements and their results, as the translator and the three database drivers exchange them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace zest::meta::sql {

enum class Dialect : uint8_t { kSqlite, kPostgres, kMysql };

// The text of a statement, with ? for its parameters. Texts live as long as their engine, and the id is unique in it,
// so that a connection can keep what it prepared for each.
struct Text {
  int id = 0;
  std::string sql;
  bool check = false;    // the first cell of the first row must be 1, else the transaction conflicts
  bool counted = false;  // the number of rows that it finds to change is asked for
};

struct Param {
  enum class Type : uint8_t { kNull, kInt, kText, kBlob };
  Type type = Type::kNull;
  int64_t i = 0;
  std::string s;

  static Param null() { return {}; }
  static Param integer(int64_t v) { return {Type::kInt, v, {}}; }
  static Param unsigned_integer(uint64_t v) { return {Type::kInt, static_cast<int64_t>(v), {}}; }
  static Param text(std::string v) { return {Type::kText, 0, std::move(v)}; }
  static Param blob(std::string v) { return {Type::kBlob, 0, std::move(v)}; }
};
using Params = std::vector<Param>;

struct Statement {
  const Text* text = nullptr;
  Params params;
};

using Cell = std::variant<std::monostate, int64_t, std::string>;  // monostate: NULL

struct Rows {
  size_t width = 0;
  std::vector<Cell> cells;
  int64_t affected = 0;  // rows that the statement found to change

  size_t size() const { return width == 0 ? 0 : cells.size() / width; }
  bool empty() const { return cells.empty(); }
  const Cell& at(size_t row, size_t column) const { return cells[row * width + column]; }
  // 0 for NULL and for what is no number.
  int64_t integer(size_t row, size_t column) const {
    auto* v = std::get_if<int64_t>(&at(row, column));
    return v ? *v : 0;
  }
  // Empty for NULL and numbers.
  std::string bytes(size_t row, size_t column) const {
    auto* v = std::get_if<std::string>(&at(row, column));
    return v ? *v : std::string();
  }
};

}  // namespace zest::meta::sql
