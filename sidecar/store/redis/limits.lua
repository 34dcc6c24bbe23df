-- SPDX-License-Identifier: Apache-2.0
-- The algorithms of sidecar/filter/limiter, step by step; see there for why.
--
-- KEYS: one for each limit, then one for the bans of each limit with a penalty; all
-- of one slot in a cluster.
-- ARGV: 'take', 'refund', 'debit' or 'beat', the caller's id, then for each limit: algorithm, limit,
-- window in µs, burst, 1 for a shadow (take) or the receipt (refund), the cost, the penalty's
-- denials (0: none), window and ban in µs, how far in µs the debt of a bucket can go beyond its
-- burst (0: it is not paid for later), and last, of a calendar where four windows begin, of a
-- lease how many tokens are wanted (else empty).
-- Reply to take: for each limit `allowed remaining retry reset receipt `, allowed
-- being 2 for a ban, and for a lease `granted level `, in one string, since numbers in replies lose their fraction and
-- times are in µs. For beat, see there.
local t = redis.call('TIME')
local now = math.max((tonumber(t[1]) - 1577836800) * 1000000 + tonumber(t[2]), 0)

local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local SLACK = 1e-3

-- MOST is what a slot counts to, MOST_FIXED a fixed window.
local MOST, MOST_FIXED = 4294967295, 1e15

-- counts of the slots j-16 to j are at 1 to 17: small indices, since some Lua
-- (that of miniredis) makes an array as long as the largest one.
local function slots(raw, width, j)
  local counts, sum = {}, 0
  local unit = raw and tonumber(string.match(raw, '^S(%d+)'))
  local healed = false
  if not unit then return counts, sum, healed end
  for i, c in string.gmatch(raw, '(%d+)=(%d+)') do
    i, c = tonumber(i), tonumber(c)
    if unit ~= width then i = floor(((i + 1) * unit - 1) / width) end
    healed = healed or i > j
    i = min(i, j)
    local at = i - j + 17
    if at >= 1 then
      local before = counts[at] or 0
      counts[at] = min(before + c, MOST)
      sum = sum + counts[at] - before
    end
  end
  return counts, sum, healed
end

local function pack_slots(counts, width, j)
  local out = {string.format('S%.0f', width)}
  for at = 1, 17 do
    if counts[at] and counts[at] > 0 then
      out[#out + 1] = string.format('%.0f=%.0f', at + j - 17, counts[at])
    end
  end
  return table.concat(out, ' ')
end

local function sliding(raw, limit, window, burst, cost, spend)
  local width = window / 16
  local j = floor(now / width)
  local counts, sum, healed = slots(raw, width, j)
  local allowed = sum + cost <= limit
  if allowed and spend then
    counts[17] = (counts[17] or 0) + cost
    sum = sum + cost
  end
  local value = (allowed and spend or healed) and pack_slots(counts, width, j) or nil
  local retry, reset, left = 0, 0, sum
  for at = 1, 17 do
    local c = counts[at]
    if c and c > 0 then
      local leaves = (at + j) * width - now
      if reset == 0 then reset = leaves end
      left = left - c
      if sum + cost > limit and left + cost <= limit then
        retry = leaves
        break
      end
    end
  end
  return allowed, max(limit - sum, 0), retry, reset, j, value, (j + 17) * width - now
end

-- What is granted ahead of its time at the most, see limiter.Reserve.
local RESERVE = 25000
-- How long what was let through can be given back, see limiter.ReceiptLife.
local RECEIPT_LIFE = 600000000

-- unpack_bucket is when a bucket was looked at last, its debt then, and what was given
-- back of it, see limiter.Rule.Refund; nil of another algorithm's value.
local function unpack_bucket(raw)
  local at, level, back = string.match(raw or '', '^T(%d+) (.+)$')
  if not at then at, level, back = string.match(raw or '', '^U(%d+) (%S+) (%S+)$') end
  return tonumber(at), tonumber(level), tonumber(back or 0)
end

-- settle is the debt of a bucket now, and what was given back of it.
local function settle(raw, ceiling)
  local at, level, back = unpack_bucket(raw)
  if not at then return 0, 0, false end
  if now - at >= level + back then back = 0 end
  level = max(level - (now - at), 0)
  if level <= ceiling then return level, back, false end
  return ceiling, back + (level - ceiling), true
end

-- pack_bucket is the value of a bucket and how long it says something.
local function pack_bucket(at, level, back)
  if back == 0 then return string.format('T%.0f %.17g', at, level), level end
  return string.format('U%.0f %.17g %.17g', at, level, back), max(level, min(level + back, RECEIPT_LIFE))
end

local function bucket(raw, limit, window, burst, cost, spend, lease, debt)
  local T = window / limit
  local tau = burst * T
  local want = tonumber(lease)
  -- The reserve also where nothing is leased: others that lease may share the bucket.
  local level, back, healed = settle(raw, tau + RESERVE + debt)
  local need = cost * T
  local allowed = level + need <= tau + SLACK
  if allowed and spend then level = level + need end
  local remaining, retry = floor(max((tau - level + SLACK) / T, 0)), 0
  if remaining < cost then retry = max(1, ceil(level + need - tau - SLACK)) end
  local reset, receipt, granted = ceil(level), now + floor(level + back), nil
  if want then
    local room, before = floor((tau + RESERVE - level) / T + 1e-6), ceil(level * 1000)
    granted = '0 0 '
    if spend and want > 0 and room >= 1 then
      local n = min(want, ceil(room / 2))
      granted = string.format('%.0f %.0f ', n, before)
      level = level + n * T
      healed = true
    end
  end
  local value, ttl
  if allowed and spend or healed then value, ttl = pack_bucket(now, level, back) end
  return allowed, remaining, retry, reset, receipt, value, ttl, granted
end

-- span is where the window around now begins and ends. A caller whose clock is far
-- off gives windows that are not around now: they go on as long as the last one.
local function span(window, calendar)
  if calendar == '' then
    local k = floor(now / window)
    return k * window, (k + 1) * window
  end
  local from, to
  for edge in string.gmatch(calendar, '%d+') do
    from, to = to, tonumber(edge)
    if from and now < to then return from, to end
  end
  local k = floor((now - to) / (to - from))
  return to + k * (to - from), to + (k + 1) * (to - from)
end

-- counted is what a fixed window from..to has counted.
local function counted(raw, from, to)
  local begun, ends, count
  local unit, k, c = string.match(raw or '', '^F(%d+) (%d+)=(%d+)$')
  if unit then
    begun, ends, count = k * unit, (k + 1) * unit, tonumber(c)
  else
    begun, ends, c = string.match(raw or '', '^C(%d+) (%d+)=(%d+)$')
    begun, ends, count = tonumber(begun), tonumber(ends), tonumber(c)
  end
  if not count or ends <= from then count = 0 end
  return count, count > 0 and (begun ~= from or ends ~= to)
end

local function pack_fixed(count, from, to, window, calendar)
  if calendar == '' then return string.format('F%.0f %.0f=%.0f', window, from / window, count) end
  return string.format('C%.0f %.0f=%.0f', from, to, count)
end

local function fixed(raw, limit, window, burst, cost, spend, calendar)
  local from, to = span(window, calendar)
  local count, healed = counted(raw, from, to)
  local allowed = count + cost <= limit
  if allowed and spend then count = count + cost end
  local value = (allowed and spend or healed) and pack_fixed(count, from, to, window, calendar) or nil
  local reset = to - now
  return allowed, max(limit - count, 0), count + cost <= limit and 0 or reset, reset, from, value, reset
end

-- HOLD is how long what a caller holds counts after its last sign of life.
local HOLD = 8000000
local BUCKET, CONCURRENCY = 2, 4

-- holders adds up what callers hold, and what of it the caller does itself.
local function holders(key)
  local sum, own = 0, 0
  local all = redis.call('HGETALL', key)
  for n = 1, #all, 2 do
    local count, ends = string.match(all[n + 1], '^(%d+) (%d+)$')
    count, ends = tonumber(count), tonumber(ends)
    if ends <= now then
      redis.call('HDEL', key, all[n])
    else
      if ends > now + HOLD then redis.call('HSET', key, all[n], string.format('%.0f %.0f', count, now + HOLD)) end
      sum = sum + count
      if all[n] == ARGV[2] then own = count end
    end
  end
  return sum, own
end

local function hold(key, count)
  if count <= 0 then
    redis.call('HDEL', key, ARGV[2])
    return
  end
  redis.call('HSET', key, ARGV[2], string.format('%.0f %.0f', count, now + HOLD))
  redis.call('PEXPIRE', key, '9000')
end

local function concurrency(key, limit, spend)
  local sum, own = holders(key)
  local allowed = sum < limit
  if allowed and spend then
    hold(key, own + 1)
    sum = sum + 1
  end
  return allowed, max(limit - sum, 0), 0, 0, 0
end

local algorithms = {sliding, bucket, fixed}

local function set(key, value, ttl)
  redis.call('SET', key, value, 'PX', ceil(ttl / 1000) + 1000)
end

local FIELDS = 11
local limits = (#ARGV - 2) / FIELDS
local function arg(i, n) return tonumber(ARGV[(i - 1) * FIELDS + 2 + n]) end
local function calendar(i) return ARGV[i * FIELDS + 2] end

-- banned is how long a key is banned yet.
local function banned(key, ban)
  local ends = tonumber(string.match(redis.call('GET', key) or '', '^B(%d+)$') or 0)
  if ends <= now then return 0 end
  if ends > now + ban then
    ends = now + ban
    set(key, string.format('B%.0f', ends), ban)
  end
  return ends - now
end

-- strike counts a denial, and returns how long the key is banned for it.
local function strike(key, denials, within, ban)
  local width = within / 16
  local j = floor(now / width)
  local counts, sum = slots(redis.call('GET', key), width, j)
  counts[17] = (counts[17] or 0) + 1
  if sum + 1 < denials then
    set(key, pack_slots(counts, width, j), (j + 17) * width - now)
    return 0
  end
  set(key, string.format('B%.0f', now + ban), ban)
  return ban
end

-- give_back lowers a bucket's debt by units, in µs.
local function give_back(key, raw, receipt, units)
  local at, level, back = unpack_bucket(raw)
  if not at then return end
  local give = min(units, receipt - now - back, max(level - (now - at), 0))
  if give <= 0 then return end
  local value, ttl = pack_bucket(at, level - give, back + give)
  set(key, value, max(at + ttl - now, 0))
end

-- debit counts n units more, whether there is room for them or not.
local function debit(key, algorithm, limit, window, burst, n, calendar, debt)
  local raw = redis.call('GET', key)
  if algorithm == 1 then
    local width = window / 16
    local j = floor(now / width)
    local counts = slots(raw, width, j)
    counts[17] = min((counts[17] or 0) + n, MOST)
    set(key, pack_slots(counts, width, j), (j + 17) * width - now)
  elseif algorithm == BUCKET then
    local T = window / limit
    local ceiling = burst * T + RESERVE + debt
    local level, back = settle(raw, ceiling)
    local next = level + n * T
    if next > ceiling then
      back = back + level
      next = ceiling
    end
    local value, ttl = pack_bucket(now, next, back)
    set(key, value, ttl)
  elseif algorithm == 3 then
    local from, to = span(window, calendar)
    local count = counted(raw, from, to)
    set(key, pack_fixed(min(count + n, max(count, MOST_FIXED)), from, to, window, calendar), to - now)
  end
end

local function refund(key, algorithm, limit, window, receipt, cost)
  if algorithm == CONCURRENCY then
    local _, own = holders(key)
    if own > 0 then hold(key, own - 1) end
    return
  end
  local raw = redis.call('GET', key)
  if not raw then return end
  if algorithm == 1 then
    local width = window / 16
    local j = floor(now / width)
    if tonumber(string.match(raw, '^S(%d+)')) ~= width then return end
    local counts = slots(raw, width, j)
    local at = receipt - j + 17
    if (counts[at] or 0) > 0 then
      counts[at] = max(counts[at] - cost, 0)
      set(key, pack_slots(counts, width, j), (j + 17) * width - now)
    end
  elseif algorithm == BUCKET then
    give_back(key, raw, receipt, cost * (window / limit))
  else
    local unit, k, count = string.match(raw, '^F(%d+) (%d+)=(%d+)$')
    if unit and tonumber(unit) == window and k * unit == receipt then
      set(key, string.format('F%s %s=%.0f', unit, k, max(count - cost, 0)), max((k + 1) * unit - now, 0))
    end
    local from, to
    from, to, count = string.match(raw, '^C(%d+) (%d+)=(%d+)$')
    if from and tonumber(from) == receipt then
      set(key, string.format('C%s %s=%.0f', from, to, max(count - cost, 0)), max(to - now, 0))
    end
  end
end

-- decide asks the limit's algorithm.
local function decide(i, raw, spend)
  if arg(i, 1) == CONCURRENCY then return concurrency(KEYS[i], arg(i, 2), spend) end
  return algorithms[arg(i, 1)](raw, arg(i, 2), arg(i, 3), arg(i, 4), arg(i, 6), spend, calendar(i), arg(i, 10))
end

if ARGV[1] == 'refund' then
  for i = 1, limits do refund(KEYS[i], arg(i, 1), arg(i, 2), arg(i, 3), arg(i, 5), arg(i, 6)) end
  return ''
end

if ARGV[1] == 'debit' then
  for i = 1, limits do debit(KEYS[i], arg(i, 1), arg(i, 2), arg(i, 3), arg(i, 4), arg(i, 6), calendar(i), arg(i, 10)) end
  return ''
end

-- beat is a sign of life of what the caller holds. It answers with how much that is,
-- for each limit `count `. Where that is the number in the place of the receipt, it
-- becomes that in the place of the limit.
if ARGV[1] == 'beat' then
  local reply = {}
  for i = 1, limits do
    local _, own = holders(KEYS[i])
    if own == arg(i, 5) then own = arg(i, 2) end
    hold(KEYS[i], own)
    reply[i] = string.format('%.0f ', own)
  end
  return table.concat(reply)
end

local raws, bans, ban_keys, denied = {}, {}, {}, false
local next_ban = limits
for i = 1, limits do
  bans[i] = 0
  if arg(i, 7) > 0 then
    next_ban = next_ban + 1
    ban_keys[i] = KEYS[next_ban]
    bans[i] = banned(ban_keys[i], arg(i, 9))
  end
  raws[i] = arg(i, 1) ~= CONCURRENCY and redis.call('GET', KEYS[i])
  -- A single limit needs no look ahead.
  if limits > 1 and arg(i, 5) == 0 and not denied then
    denied = bans[i] > 0 or not decide(i, raws[i], false)
  end
end
local reply = {}
for i = 1, limits do
  local spend = arg(i, 5) == 1 or not denied
  local allowed, remaining, retry, reset, receipt, value, ttl, granted
  if bans[i] == 0 then
    allowed, remaining, retry, reset, receipt, value, ttl, granted = decide(i, raws[i], spend)
    if value then set(KEYS[i], value, ttl) end
    if not allowed and ban_keys[i] then bans[i] = strike(ban_keys[i], arg(i, 7), arg(i, 8), arg(i, 9)) end
  end
  if bans[i] > 0 then
    reply[i] = string.format('2 0 %.0f %.0f 0 ', bans[i], bans[i])
  else
    reply[i] = string.format('%d %.0f %.0f %.0f %.0f ', allowed and 1 or 0, remaining, retry, reset, receipt)
  end
  if arg(i, 1) == BUCKET and calendar(i) ~= '' then reply[i] = reply[i] .. (granted or '0 0 ') end
end
return table.concat(reply)
