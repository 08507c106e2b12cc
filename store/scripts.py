"""The Lua scripts of the writer: what must be decided and done in one step inside Redis.

A batch travels as one msgpack argument: packing and sending it is one call in Python, whatever its length.
Keys of labels are built inside the script, so the keys of an installation must lie on one Redis node (no cluster).
"""

from __future__ import annotations

from typing import Final

MARK: Final = """
-- KEYS: filling, generation. ARGV: a new generation
if redis.call('DEL', KEYS[1]) == 1 then redis.call('SET', KEYS[2], ARGV[1], 'NX') end
"""

WRITE_PREDICTIONS: Final = """
-- KEYS: bodies, index by time, prefix of the indexes by label, stream of arrivals. ARGV: msgpack [[id, time, label, json], ...], recent
-- Half of what a command costs is the call: an index is written once a batch, not once a prediction.
local times, labels = {}, {}
for _, p in ipairs(cmsgpack.unpack(ARGV[1])) do
  -- the first prediction of an event id counts
  if redis.call('HSETNX', KEYS[1], p[1], #p[3] .. ':' .. p[3] .. p[4]) == 1 then
    times[#times + 1], times[#times + 2] = p[2], p[1]
    local label = labels[p[3]] or {}
    label[#label + 1], label[#label + 2] = p[2], p[1]
    labels[p[3]] = label
    redis.call('XADD', KEYS[4], '*', 'e', p[1])
  end
end
if #times > 0 then
  redis.call('ZADD', KEYS[2], unpack(times))
  for label, rows in pairs(labels) do redis.call('ZADD', KEYS[3] .. label, unpack(rows)) end
  redis.call('XTRIM', KEYS[4], 'MAXLEN', '~', ARGV[2])
end
local excess = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[2])
for start = 0, excess - 1, 1000 do  -- as many as a call takes arguments
  local ids = redis.call('ZRANGE', KEYS[2], start, math.min(start + 999, excess - 1))
  local gone = {}
  for i, body in ipairs(redis.call('HMGET', KEYS[1], unpack(ids))) do
    if body then
      local colon = string.find(body, ':', 1, true)
      local label = string.sub(body, colon + 1, colon + tonumber(string.sub(body, 1, colon - 1)))
      gone[label] = gone[label] or {}
      table.insert(gone[label], ids[i])
    end
  end
  for label, members in pairs(gone) do redis.call('ZREM', KEYS[3] .. label, unpack(members)) end
  redis.call('HDEL', KEYS[1], unpack(ids))
end
if excess > 0 then redis.call('ZREMRANGEBYRANK', KEYS[2], 0, excess - 1) end
"""

WRITE_LABEL_STATES: Final = """
-- KEYS: receipts, index by time, stream of changes. ARGV: msgpack [[id, partition, offset, final, time, json], ...], recent, history
local function after(a, b)  -- by feedback position, then waiting before the final state
  for i = 1, 3 do
    if a[i] ~= b[i] then return a[i] > b[i] end
  end
  return false
end
local function insert(history, state)  -- false if the feedback record has a state of this kind already
  local at = #history + 1
  for i, other in ipairs(history) do
    if after(other, state) then
      at = i
      break
    end
    if not after(state, other) then return false end
  end
  table.insert(history, at, state)
  return true
end
for _, s in ipairs(cmsgpack.unpack(ARGV[1])) do
  local id = table.remove(s, 1)
  local packed = redis.call('HGET', KEYS[1], id)
  local history = packed and cmsgpack.unpack(packed) or {}
  if insert(history, s) then
    while #history > tonumber(ARGV[3]) do table.remove(history, 1) end
    local newest = 0
    for _, state in ipairs(history) do newest = math.max(newest, state[4]) end
    redis.call('HSET', KEYS[1], id, cmsgpack.pack(history))
    redis.call('ZADD', KEYS[2], newest, id)
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'e', id)
  end
end
local excess = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[2])
if excess > 0 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, excess - 1)) do redis.call('HDEL', KEYS[1], id) end
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, excess - 1)
end
"""

WRITE_QUALITY: Final = """
-- KEYS: quality. ARGV: json, seq, time. An older value does not replace a newer one.
local present = redis.call('GET', KEYS[1])
if present then
  local old = cjson.decode(present)
  local seq = tonumber(ARGV[2])
  if old.model.seq > seq or (old.model.seq == seq and old.time > tonumber(ARGV[3])) then return end
end
redis.call('SET', KEYS[1], ARGV[1])
"""

WRITE_COUNTS: Final = """
-- KEYS: index of the buckets. ARGV: msgpack [[start, [label, count, ...]], ...], lifetime in ms (0: for ever)
local lifetime = tonumber(ARGV[2])
for _, bucket in ipairs(cmsgpack.unpack(ARGV[1])) do
  local start = string.format('%d', bucket[1])
  local key = KEYS[1] .. ':' .. start
  for i = 1, #bucket[2], 2 do redis.call('HSET', key, bucket[2][i], string.format('%d', bucket[2][i + 1])) end
  redis.call('ZADD', KEYS[1], start, start)
  if lifetime > 0 then redis.call('PEXPIREAT', key, string.format('%d', bucket[1] + lifetime)) end
end
if lifetime > 0 then
  local newest = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%d', tonumber(newest[2]) - lifetime))
end
"""

WRITE_TRENDING: Final = """
-- KEYS: trending. ARGV: json, end, expires at (epoch ms). An older window does not replace a newer one.
local present = redis.call('GET', KEYS[1])
if present and cjson.decode(present)['end'] > tonumber(ARGV[2]) then return end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[3])
"""
