#include "meta/engine/redis/scripts.h"

namespace zest::meta::redis {

namespace {

// The inode of a directory entry as decimal text. Lua's numbers are doubles: beyond 2^52 (the trash's directories lie
// there) the digits are computed in groups of seven.
constexpr char kInoText[] = R"(
local function ino_text(e)
  if e:byte(2) == 0 and e:byte(3) < 16 then
    local n = 0
    for i = 3, 9 do n = n * 256 + e:byte(i) end
    return string.format('%.0f', n)
  end
  local a, b, c = 0, 0, 0
  for i = 2, 9 do
    c = c * 256 + e:byte(i)
    b = b * 256 + math.floor(c / 10000000)
    c = c % 10000000
    a = a * 256 + math.floor(b / 10000000)
    b = b % 10000000
  end
  return string.format('%.0f%07.0f%07.0f', a, b, c)
end
)";

constexpr char kRead[] = R"(
local call = redis.call
local out = {}
local prefix = ARGV[1]
for k = 1, #KEYS do
  local op, field, key = ARGV[2 * k], ARGV[2 * k + 1], KEYS[k]
  local v
  if op == 'G' then v = call('GET', key)
  elseif op == 'H' then v = call('HGET', key, field)
  elseif op == 'E' then v = call('HLEN', key)
  elseif op == 'L' then v = call('LRANGE', key, 0, -1)
  elseif op == 'Z' then v = call('ZSCORE', key, field)
  elseif op == 'M' then v = call('SISMEMBER', key, field)
  elseif op == 'A' then v = call('HGETALL', key)
  else
    local e = call('HGET', key, field)
    v = {e, false, 0}
    if e and #e == 9 then
      local ino = ino_text(e)
      v[2] = call('GET', prefix .. 'i' .. ino)
      if op == 'D' and e:byte(1) == 2 then v[3] = call('HLEN', prefix .. 'd' .. ino) end
    end
  end
  out[k] = v
end
return out
)";

constexpr char kCommit[] = R"(
local call = redis.call
local function differs(v, expected)
  local c = expected:byte(1)
  if c == 45 then return v end
  if not v then return true end
  if c == 61 then return v ~= expected:sub(2) end
  return redis.sha1hex(v) ~= expected:sub(2)
end
local function commit(i, n, base)
  local out = {1}
  while i <= n do
    local op, key = ARGV[i], KEYS[base + ARGV[i + 1]]
    if op == 'C' or op == 'R' then
      local count = tonumber(ARGV[i + 2])
      local r
      if count == 1 then r = call(ARGV[i + 3], key, ARGV[i + 4])
      elseif count == 2 then r = call(ARGV[i + 3], key, ARGV[i + 4], ARGV[i + 5])
      else r = call(ARGV[i + 3], key, unpack(ARGV, i + 4, i + 3 + count)) end
      if op == 'R' then out[#out + 1] = r end
      i = i + 4 + count
    elseif op == 'X' then
      local there = call('HEXISTS', key, ARGV[i + 2])
      out[#out + 1] = there
      if there == 0 then i = i + ARGV[i + 3] end
      i = i + 4
    elseif op == 'A' then
      local count = tonumber(ARGV[i + 2])
      if call('HLEN', key) ~= count then return {0, i} end
      for f = i + 3, i + 1 + 2 * count, 2 do
        if differs(call('HGET', key, ARGV[f]), ARGV[f + 1]) then return {0, i} end
      end
      i = i + 3 + 2 * count
    else
      local field, expected = ARGV[i + 2], ARGV[i + 3]
      local bad
      if op == 'G' then bad = differs(call('GET', key), expected)
      elseif op == 'H' then bad = differs(call('HGET', key, field), expected)
      elseif op == 'Z' then bad = differs(call('ZSCORE', key, field), expected)
      elseif op == 'E' then bad = (call('HLEN', key) > 0) ~= (expected == '1')
      elseif op == 'M' then bad = call('SISMEMBER', key, field) ~= tonumber(expected)
      else
        local list = table.concat(call('LRANGE', key, 0, -1))
        bad = differs(list ~= '' and list, expected)
      end
      if bad then return {0, i} end
      i = i + 4
    end
  end
  return out
end
local answers, at, base = {}, 1, 0
while at <= #ARGV do
  local n = at + 1 + ARGV[at]
  local fine, answer = pcall(commit, at + 2, n, base)
  if not fine then answer = {err = type(answer) == 'table' and answer.err or answer} end
  if answer[1] == 0 then answer[2] = answer[2] - at end
  answers[#answers + 1] = answer
  base = base + ARGV[at + 1]
  at = n + 1
end
return answers
)";

constexpr char kList[] = R"(
local page = redis.call('HSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
local pairs_, attrs = page[2], {}
if ARGV[4] == '1' then
  local keys = {}
  for i = 2, #pairs_, 2 do
    local e = pairs_[i]
    keys[#keys + 1] = ARGV[1] .. 'i' .. (#e == 9 and ino_text(e) or '0')
  end
  for from = 1, #keys, 1000 do
    local some = redis.call('MGET', unpack(keys, from, math.min(from + 999, #keys)))
    for j = 1, #some do attrs[#attrs + 1] = some[j] end
  end
end
return {page[1], pairs_, attrs}
)";

constexpr char kLog[] = R"(
local call, what, version = redis.call, ARGV[1], tonumber(ARGV[2])
local last = tonumber(call('GET', KEYS[2]) or 0)
local first = last - call('LLEN', KEYS[1]) + 1
if what == 'range' then return {first, last} end
local at = math.max(version - first, 0)
if what == 'lines' then return {first + at, call('LRANGE', KEYS[1], at, at + tonumber(ARGV[3]) - 1)} end
if at > 0 then call('LTRIM', KEYS[1], at, -1) end
return {first, last}
)";

}  // namespace

const Script& read_script() {
  static const Script script(std::string(kInoText) + kRead);
  return script;
}

const Script& commit_script() {
  static const Script script{std::string(kCommit)};
  return script;
}

const Script& log_script() {
  static const Script script{std::string(kLog)};
  return script;
}

const Script& list_script() {
  static const Script script(std::string(kInoText) + kList);
  return script;
}

}  // namespace zest::meta::redis
