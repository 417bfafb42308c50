import { createHash } from 'node:crypto';
import {
  FIRST_DISPUTE_MS,
  FORGET_DISPUTES_MS,
  FORGOTTEN_MS,
  LATE_MS,
  LONGEST_DISPUTE_MS,
  LONGEST_HEARING_MS,
  MISSED_HEARTBEATS,
  OLDEST_MS,
  SHARE_OF_OUTAGE,
  UNUSED_MS,
} from './protocol.js';

/** Keys of one fleet. The braces make one slot of a Redis cluster of them; so they must not be in the namespace. */
export function keysOf(namespace: string): { live: string; hosts: string; book: string; channel: string } {
  const prefix = `ob1:{${namespace}}`;
  return { live: `${prefix}:live`, hosts: `${prefix}:hosts`, book: `${prefix}:book`, channel: prefix };
}

export function keyOfBreaker(namespace: string, name: string): string {
  return `ob1:{${namespace}}:b:${name}`;
}

/**
 * The engine's rules, in Redis: atomic, by its clock. `Ledger` has the same in TypeScript, with the reasons.
 *
 * KEYS: live, hosts, book, and the hash of each act's breaker. ARGV: the request as JSON, and the channel.
 *
 * The hash of a breaker has its state in `#`, votes in `v:<replica>` as `kind:at:streak:seen:domain`, and the end of each
 * ticket in `t:<replica>`. Works from Redis 5 on, and in Valkey.
 */
export const SCRIPT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local request = cjson.decode(ARGV[1])
local channel = ARGV[2]
local id, domain = request.id, request.domain

local oldest = now - ${MISSED_HEARTBEATS} * request.heartbeat
for i = 1, 2 do redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', '(' .. oldest) end
redis.call('ZADD', KEYS[1], now, id)
redis.call('ZADD', KEYS[2], now, domain)
for i = 1, 2 do redis.call('PEXPIRE', KEYS[i], ${MISSED_HEARTBEATS} * request.heartbeat) end
local hosts = redis.call('ZCARD', KEYS[2])
local rev = tonumber(redis.call('HGET', KEYS[3], '#rev') or '0')

local function nextRev() return math.max(rev + 1, now) end

local function publish(message)
  message.now = now
  redis.call('PUBLISH', channel, cjson.encode(message))
end

local function load(key)
  local flat = redis.call('HGETALL', key)
  local known = { votes = {}, tickets = {}, state = {
    epoch = 0, grantedAt = 0, successes = 0, failures = 0, troubleSince = 0, closedAt = 0, troubleMs = 0,
    fullOpenings = 0, heldUntil = 0, disputes = 0, disputedUntil = 0 } }
  for i = 1, #flat, 2 do
    local field, value = flat[i], flat[i + 1]
    local kind = string.sub(field, 1, 2)
    if field == '#' then known.state = cjson.decode(value)
    elseif kind == 't:' then known.tickets[string.sub(field, 3)] = tonumber(value)
    elseif kind == 'v:' then
      local word, at, streak, seen, where = string.match(value, '^(%a):(-?%d+):(%d+):(%d+):(.*)$')
      known.votes[string.sub(field, 3)] =
        { kind = word, at = tonumber(at), streak = tonumber(streak), seen = tonumber(seen), domain = where }
    end
  end
  local verdict = known.state.verdict
  if verdict and now > verdict['until'] + ${FORGOTTEN_MS} then known.state.verdict = nil end
  return known
end

local function save(key, state)
  redis.call('HSET', key, '#', cjson.encode(state))
end

local function vote(key, known, kind, at, streak)
  known.votes[id] = { kind = kind, at = at, streak = streak, seen = now, domain = domain }
  redis.call('HSET', key, 'v:' .. id, string.format('%s:%.0f:%.0f:%.0f:%s', kind, at, streak, now, domain))
end

local function forget(key, prefix, entries)
  for member in pairs(entries) do
    redis.call('HDEL', key, prefix .. member)
    entries[member] = nil
  end
end

local function expire(key, tickets)
  local count = 0
  for holder, ends in pairs(tickets) do
    if now >= ends then
      redis.call('HDEL', key, 't:' .. holder)
      tickets[holder] = nil
    else count = count + 1 end
  end
  return count
end

local function count(key, known)
  local oldestVote = now - math.max(${OLDEST_MS}, 2 * request.heartbeat)
  local accusers, objectors = {}, {}
  for voter, word in pairs(known.votes) do
    if word.seen < oldestVote and (not known.state.verdict or word.kind == 'o') then
      redis.call('HDEL', key, 'v:' .. voter)
      known.votes[voter] = nil
    elseif word.kind == 'o' then objectors[word.domain] = true
    else
      local other = accusers[word.domain]
      if other then
        other.streak = math.max(other.streak, word.streak)
        other.at = math.min(other.at, word.at)
      else accusers[word.domain] = { streak = word.streak, at = word.at } end
    end
  end
  local counted = { accusers = 0, objectors = 0, weight = 0, begins = {} }
  for where in pairs(objectors) do
    counted.objectors = counted.objectors + 1
    accusers[where] = nil
  end
  for _, accuser in pairs(accusers) do
    counted.accusers = counted.accusers + 1
    counted.weight = counted.weight + accuser.streak
    counted.begins[counted.accusers] = accuser.at
  end
  table.sort(counted.begins)
  return counted
end

local function agrees(counted)
  return counted.accusers >= request.agreement * (counted.accusers + counted.objectors)
end

local function step(state, steps)
  local share = math.max(steps.initial, math.ceil((now - state.troubleSince) * ${SHARE_OF_OUTAGE}))
  if share < steps.open then return share end
  local full = state.fullOpenings
  state.fullOpenings = full + 1
  return math.min(math.floor(steps.open * steps.backoff ^ full), steps.max)
end

local function write(name, verdict)
  local prev = rev
  rev = math.max(nextRev(), verdict and verdict.epoch or 0)
  redis.call('HSET', KEYS[3], '#rev', string.format('%.0f', rev))
  if verdict then redis.call('HSET', KEYS[3], '=' .. name, cjson.encode(verdict)) else redis.call('HDEL', KEYS[3], '=' .. name) end
  redis.call('PEXPIRE', KEYS[3], 86400000)
  return prev
end

local function open(name, state, verdict)
  state.verdict = verdict
  local prev = write(name, verdict)
  publish({ is = 'open', name = name, rev = rev, prev = prev, verdict = verdict })
end

local function finish(key, name, known, is)
  known.state.verdict = nil
  forget(key, 't:', known.tickets)
  local prev = write(name, nil)
  publish({ is = is, name = name, rev = rev, prev = prev, epoch = known.state.epoch })
end

local function begin(key, known)
  forget(key, 't:', known.tickets)
  known.state.successes = 0
  known.state.failures = 0
end

local acts = {}

function acts.accuse(key, act)
  local known = load(key)
  local state = known.state
  vote(key, known, 'a', now - act.age, math.min(act.streak, act.threshold))
  local verdict = state.verdict
  if act.hold > 0 then
    state.heldUntil = math.max(state.heldUntil, now + act.hold)
    save(key, state)
  end
  if verdict then
    if state.heldUntil > verdict['until'] then
      verdict['until'] = state.heldUntil
      open(act.name, state, verdict)
      save(key, state)
    end
    return { is = 'done' }
  end
  local counted = count(key, known)
  local size = math.max(hosts, request.size)
  local needed = math.min(math.max(request.quorum, math.ceil(request.share * size)), math.floor(size / 2) + 1)
  local doubled = needed
  if now < state.disputedUntil then doubled = math.min(2 * needed, size) end
  if counted.accusers < doubled or counted.weight < math.max(act.threshold, needed) or not agrees(counted) then
    return { is = 'done' }
  end
  local recent = {}
  for _, at in ipairs(counted.begins) do if now - at <= ${OLDEST_MS} then recent[#recent + 1] = at end end
  local since, took = now - ${OLDEST_MS}, 0
  if #recent > 0 then
    since = recent[math.floor(#recent / 4) + 1]
    took = recent[#recent] - recent[1]
  end
  local from = now + math.max(request.hearing, math.min(took, ${LONGEST_HEARING_MS}))
  state.troubleSince = now
  if now - state.closedAt < act.steps.window then state.troubleSince = now - state.troubleMs end
  local openFor = step(state, act.steps)
  state.epoch = nextRev()
  begin(key, known)
  open(act.name, state, {
    epoch = state.epoch, since = since, from = from, ['until'] = math.max(from + openFor, state.heldUntil),
    openFor = openFor, failing = counted.accusers, against = counted.objectors, hosts = size, trace = act.trace })
  save(key, state)
  return { is = 'done' }
end

function acts.object(key, act)
  local known = load(key)
  local state = known.state
  if act.epoch ~= state.epoch then return { is = 'void' } end
  vote(key, known, 'o', now, 0)
  if not state.verdict or agrees(count(key, known)) then return { is = 'done' } end
  if now - state.disputedUntil > ${FORGET_DISPUTES_MS} then state.disputes = 0 end
  state.disputedUntil = now + math.min(${FIRST_DISPUTE_MS} * 2 ^ state.disputes, ${LONGEST_DISPUTE_MS})
  state.disputes = state.disputes + 1
  finish(key, act.name, known, 'lift')
  save(key, state)
  return { is = 'done' }
end

function acts.withdraw(key)
  local value = redis.call('HGET', key, 'v:' .. id)
  if value and string.sub(value, 1, 1) == 'a' then redis.call('HDEL', key, 'v:' .. id) end
  return { is = 'done' }
end

function acts.lease(key, act)
  local known = load(key)
  local state, tickets = known.state, known.tickets
  local verdict = state.verdict
  if not verdict then return { is = 'none' } end
  if verdict.epoch ~= act.epoch then return { is = 'void' } end
  if now < verdict['until'] and not act.early then return { is = 'wait', wait = verdict['until'] - now } end
  local held = expire(key, tickets)
  if not tickets[id] then
    local unused = now - state.grantedAt
    if held > 0 and unused < ${UNUSED_MS} then return { is = 'wait', wait = ${UNUSED_MS} - unused } end
    if held >= act.max then return { is = 'wait', wait = ${UNUSED_MS} } end
    state.grantedAt = now
    save(key, state)
  end
  redis.call('HSET', key, 't:' .. id, string.format('%.0f', now + request.lease))
  publish({ is = 'lease', name = act.name, epoch = verdict.epoch, next = state.grantedAt + ${UNUSED_MS}, by = id })
  return { is = 'granted' }
end

function acts.renew(key, act)
  local known = load(key)
  local verdict = known.state.verdict
  if not verdict or verdict.epoch ~= act.epoch or now >= (known.tickets[id] or 0) then return { is = 'void' } end
  redis.call('HSET', key, 't:' .. id, string.format('%.0f', now + request.lease))
  return { is = 'done' }
end

function acts.settle(key, act)
  local known = load(key)
  local state, tickets = known.state, known.tickets
  local verdict = state.verdict
  if not verdict then return { is = 'none' } end
  if verdict.epoch ~= act.epoch then return { is = 'void' } end
  local held = expire(key, tickets)
  if tickets[id] then
    redis.call('HDEL', key, 't:' .. id)
    tickets[id] = nil
  elseif not (act.free and now >= verdict['until'] and held < act.max) then return { is = 'void' } end
  if act.ok then
    state.successes = state.successes + 1
    if state.successes >= act.needed then
      state.closedAt = now
      state.troubleMs = now - state.troubleSince
      state.fullOpenings = 0
      state.heldUntil = 0
      forget(key, 'v:', known.votes)
      finish(key, act.name, known, 'close')
    end
    save(key, state)
    return { is = 'done' }
  end
  vote(key, known, 'a', now, 1)
  state.failures = state.failures + 1
  if state.failures > act.tolerated then
    local openFor = step(state, act.steps)
    begin(key, known)
    state.epoch = nextRev()
    verdict.epoch = state.epoch
    verdict.from = now
    verdict['until'] = math.max(now + openFor, state.heldUntil)
    verdict.openFor = openFor
    open(act.name, state, verdict)
  end
  save(key, state)
  return { is = 'done' }
end

local late = request.at == 0 or math.abs(now - request.at) > ${LATE_MS}
local results = {}
for i, act in ipairs(request.acts) do
  local key = KEYS[3 + i]
  if late then results[i] = { is = 'late' }
  else
    results[i] = acts[act.act](key, act)
    redis.call('PEXPIRE', key, 3600000)
  end
end

local reply = { now = now, rev = rev, replicas = redis.call('ZCARD', KEYS[1]), hosts = hosts, results = results }
if request.rev ~= rev then
  reply.book = {}
  local flat = redis.call('HGETALL', KEYS[3])
  for i = 1, #flat, 2 do
    local field = flat[i]
    if field ~= '#rev' then
      local verdict = cjson.decode(flat[i + 1])
      if now <= verdict['until'] + ${FORGOTTEN_MS} then reply.book[string.sub(field, 2)] = verdict
      else redis.call('HDEL', KEYS[3], field) end
    end
  end
end
return cjson.encode(reply)
`;

export const SCRIPT_SHA = createHash('sha1').update(SCRIPT).digest('hex');
