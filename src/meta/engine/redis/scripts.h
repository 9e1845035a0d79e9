// The Lua that runs inside Redis.
#pragma once

#include "meta/engine/redis/client.h"

namespace zest::meta::redis {

// Reads parts of records at one moment. KEYS: the parts' keys. ARGV: the prefix; then for each part a letter of `Read`
// and a field; the letters F and D read an entry ('H'), the inode behind it and, with D, the number of entries if that
// is a directory. Gives a list: the parts' values, for F and D lists of three.
const Script& read_script();

// Carries out commits, one after the other, each on its own: compares what was read, then applies changes, or does
// nothing. KEYS: every key touched, commit by commit. ARGV: for each commit the number of its instructions' arguments,
// that of its keys, and the instructions, each a letter and the index of its key among the commit's:
//   letter of Read, field, expected   "-" absent, "=text", "#sha1 of the text"; for E and M "1" or "0"
//   A, number of fields, (field, expected)...
//   C, number of arguments, command, arguments...      run it
//   R, the same                                        run it and return its result
//   X, field, number of ARGV to skip                   skip that many if the hash has no such field; returns 0 or 1
// Gives for each commit {1, results...}, or {0, place of the comparison that failed among its ARGV}, or an error.
const Script& commit_script();

// A page of a directory. KEYS: the directory's hash. ARGV: prefix, cursor, count, "1" to read the inodes too.
// Gives {next cursor, {name, entry, ...}, {attributes or nil, ...}}.
const Script& list_script();

// The change log. KEYS: the list of its lines, the number of the last one. ARGV: what to do, a version, a number.
//   "range"   gives {version of the oldest line, of the newest}
//   "lines"   gives {version of the first of them, {line, ...}}: from the version on, at most the number
//   "trim"    removes the lines before the version
const Script& log_script();

}  // namespace zest::meta::redis
