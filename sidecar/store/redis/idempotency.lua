-- SPDX-License-Identifier: Apache-2.0
--
-- One step on one idempotency record, as sidecar/filter/idempotency/record.Apply has
-- it, whose format this knows: version 1 of record.HeaderLen.
--
-- KEYS[1] the record. ARGV[1] what to do:
--   begin   record, keep ms                      nil, or the record there is
--   expire  owner, fence, record or '', keep ms
--   renew   owner, fence
--   finish  owner, fence, record, keep ms
--   release owner, fence or '', record or '', keep ms
-- An answer begins with A (applied; a header follows where it is not the caller's), L
-- (applied, the claim was missing), M (missing) or F (not applied; the record follows).

local VERSION, HEADER = 1, 96
local key, verb = KEYS[1], ARGV[1]
local cur = redis.call('GET', key)

if verb == 'begin' then
  if cur then
    return cur
  end
  redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
  return false
end

local owner, fence, record, keep = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local function number(s, from, to)
  local n = 0
  for i = from, to do
    n = n * 256 + string.byte(s, i)
  end
  return n
end

local function bytes(n, width)
  local s = ''
  for _ = 1, width do
    s = string.char(n % 256) .. s
    n = math.floor(n / 256)
  end
  return s
end

local readable = cur and #cur >= HEADER and string.byte(cur, 1) == VERSION
local state = readable and string.sub(cur, 2, 2)
local ours = readable and string.sub(cur, 25, 40) == owner and (fence == '' or string.sub(cur, 9, 16) == fence)

local function found()
  if not cur then
    return 'M'
  end
  if verb == 'finish' or verb == 'expire' or not readable then
    return 'F' .. cur
  end
  return 'F' .. string.sub(cur, 1, HEADER)
end

local function set(value, ms)
  redis.call('SET', key, value, 'PX', ms)
end

if verb == 'finish' then
  -- Released before the claim that is missing.
  local before = state == 'R' and
    (number(cur, 9, 16) < number(record, 9, 16) or string.sub(cur, 17, 24) ~= string.sub(record, 17, 24))
  if not cur or before then
    set(record, keep)
    return 'L'
  end
  if ours and (state == 'I' or state == 'U') then
    set(record, keep)
    return 'A'
  end
  if ours and state == string.sub(record, 2, 2) then
    return 'A'
  end
  return found()
end

if verb == 'renew' then
  if not (ours and state == 'I') then
    return found()
  end
  redis.call('PEXPIRE', key, string.format('%.0f', number(cur, 77, 84)))
  return 'A'
end

if verb == 'release' then
  if ours and state == 'R' then
    return 'A'
  end
  if not (ours and (state == 'I' or state == 'U')) then
    return found()
  end
  if record ~= '' then
    set(record, keep)
  elseif number(cur, 5, 8) > 1 then
    set(string.sub(cur, 1, 1) .. 'R' .. string.sub(cur, 3), string.format('%.0f', number(cur, 77, 84)))
  else
    redis.call('DEL', key)
  end
  return 'A'
end

-- expire: a repeated call finds what it has done.
if readable and state == 'I' and record ~= '' and string.sub(cur, 25, 40) == string.sub(record, 25, 40) then
  return 'A' .. string.sub(cur, 1, HEADER)
end
if ours and state == 'U' and record == '' then
  return 'A' .. string.sub(cur, 1, HEADER)
end
local over = ours and state == 'R' and record ~= ''
if ours and state == 'I' then
  local left = redis.call('PTTL', key)
  over = left >= 0 and number(cur, 77, 84) - left >= number(cur, 73, 76)
end
if not over then
  return found()
end
if record == '' then
  local unknown = string.sub(cur, 1, 1) .. 'U' .. string.sub(cur, 3)
  set(unknown, string.format('%.0f', number(cur, 77, 84)))
  return 'A' .. string.sub(unknown, 1, HEADER)
end
local time = redis.call('TIME')
local new = math.max(number(cur, 9, 16) + 1, time[1] * 1000000 + time[2])
local claim = string.sub(record, 1, 4) .. bytes(number(cur, 5, 8) + 1, 4) .. bytes(new, 8)
  .. string.sub(cur, 17, 24) .. string.sub(record, 25)
set(claim, keep)
return 'A' .. string.sub(claim, 1, HEADER)
