#!lua name=tollgate

-- What Redis does for the ledger: admission, posting and the node's lease. Called by FCALL from workers
-- (admit, release) and from the poster. Redis does not roll back, so each function checks everything,
-- the stored values too, before its first write.
--
--   tg:{issuer/account}:account       hash: status plan opened status_at balance used reserved revision
--                                     conflicts, and per node instance a watermark w:INSTANCE
--   tg:{issuer/account}:grants        hash: node -> "epoch reserved expires_ms"
--   tg:{issuer/account}:usage:DAY     hash: b:FILE bytes, r:FILE responses
--   tg:{issuer/account}:transactions  hash: id -> "operation amount plan"
--   tg:node:{NAME}                    hash: instance epoch until
--
-- balance is the money moved less `used`, until the account is known to be postpaid; then money only.
-- Every change but a tie in time commutes between nodes, so that several journals may be replayed in any
-- order into an empty Redis.

local VERSION = 1
local MAX = 9007199254740991 -- 2^53 - 1: what a Lua number holds exactly

local function refuse(text)
    error({err = 'ERR tollgate: ' .. text})
end

local function text(number)
    return string.format('%.0f', number)
end

local function number_of(string_value)
    if type(string_value) ~= 'string' or #string_value > 17 or
        not (string_value == '0' or string.match(string_value, '^%-?[1-9]%d*$')) then
        return nil
    end
    local number = tonumber(string_value)
    if number > MAX or number < -MAX then
        return nil
    end
    return number
end

local function integer(args, index, name, low, high)
    local number = number_of(args[index])
    if not number or number < low or number > (high or MAX) then
        refuse(name .. ' is not an integer within its bounds')
    end
    return number
end

local function match(args, index, name, pattern, length)
    local value = args[index]
    if type(value) ~= 'string' or #value > length or not string.match(value, pattern) then
        refuse(name .. ' is malformed')
    end
    return value
end

local function node_of(args, index)
    return match(args, index, 'node', '^[a-z0-9%-]+$', 32)
end

local function id_of(args, index, name)
    local value = match(args, index, name, '^[0-9a-f]+$', 32)
    if #value ~= 32 then
        refuse(name .. ' is malformed')
    end
    return value
end

local function arity(keys, args, keys_count, low, high)
    if #keys ~= keys_count then
        refuse('keys: ' .. keys_count .. ' expected')
    end
    if #args < low or #args > high then
        refuse('arguments: wrong number')
    end
end

-- A total as it is stored: absent is 0.
local function stored(value, name)
    if not value then
        return 0
    end
    local number = number_of(value)
    if not number then
        refuse('stored ' .. name .. ' is not an integer')
    end
    return number
end

local function bounded(number, name)
    if number > MAX or number < -MAX then
        refuse(name .. ' would pass 2^53 - 1')
    end
    return number
end

local function now_ms()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function grant_of(value)
    if not value then
        return nil
    end
    local epoch, reserved, expires = string.match(value, '^(%x+) (%d+) (%d+)$')
    local grant = {epoch = epoch, reserved = number_of(reserved), expires = number_of(expires)}
    if not epoch or not grant.reserved or not grant.expires then
        refuse('a stored grant is malformed')
    end
    return grant
end

local function grant_text(grant)
    return grant.epoch .. ' ' .. text(grant.reserved) .. ' ' .. text(grant.expires)
end

local GRANTED, UNKNOWN, SUSPENDED, INSUFFICIENT = 0, 1, 2, 3

-- Grants of other nodes whose validity is long over: those nodes are dead or cut off.
local function expired_grants(key, node, now)
    local names, sum = {}, 0
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
        local grant = grant_of(all[i + 1])
        if all[i] ~= node and grant.expires < now then
            names[#names + 1] = all[i]
            sum = sum + grant.reserved
        end
    end
    return names, sum
end

local function admit_prepaid(keys, node, epoch, need, want, validity, balance, reserved, revision)
    local now = now_ms()
    local grant = grant_of(redis.call('HGET', keys[2], node))
    if grant and grant.epoch ~= epoch then
        -- All that the process before had delivered was posted before this one began to serve.
        reserved = reserved - grant.reserved
        grant = nil
    end
    grant = grant or {epoch = epoch, reserved = 0}
    local dropped = {}
    if balance - reserved < need then
        local sum
        dropped, sum = expired_grants(keys[2], node, now)
        reserved = reserved - sum
    end
    reserved = math.max(reserved, grant.reserved)
    local available = balance - reserved
    if need > 0 and available < need then
        return {INSUFFICIENT, 0, 1, revision}
    end
    local granted = 0
    if need > 0 then
        granted = math.min(want, math.max(need, math.floor(available / 4)))
    end
    grant.reserved = bounded(grant.reserved + granted, 'the grant')
    grant.expires = bounded(now + 2 * validity, 'the expiry')
    reserved = bounded(reserved + granted, 'reserved')
    for _, name in ipairs(dropped) do
        redis.call('HDEL', keys[2], name)
    end
    redis.call('HSET', keys[2], node, grant_text(grant))
    redis.call('HSET', keys[1], 'reserved', text(reserved))
    return {GRANTED, granted, 1, revision}
end

-- keys: account, grants. args: node, epoch, need, want, validity_ms.
-- Returns {admission, granted, prepaid, revision}.
local function admit(keys, args)
    arity(keys, args, 2, 5, 5)
    local node, epoch = node_of(args, 1), id_of(args, 2, 'epoch')
    local need, want = integer(args, 3, 'need', 0), integer(args, 4, 'want', 0)
    local validity = integer(args, 5, 'validity', 1, 86400000)
    if want < need then
        refuse('want is less than need')
    end
    local account = redis.call('HMGET', keys[1], 'status', 'plan', 'balance', 'reserved', 'revision')
    local status, plan = account[1], account[2]
    local balance, reserved = stored(account[3], 'balance'), stored(account[4], 'reserved')
    local revision = stored(account[5], 'revision')
    if not plan then
        return {UNKNOWN, 0, 0, revision} -- usage or money may be posted before another node's open is
    end
    if status ~= 'active' then
        return {SUSPENDED, 0, plan == 'prepaid' and 1 or 0, revision}
    end
    if plan == 'postpaid' then
        return {GRANTED, want, 0, revision}
    end
    return admit_prepaid(keys, node, epoch, need, want, validity, balance, reserved, revision)
end

-- Takes up to `bytes` off the node's grant; returns what was taken, and the grant.
local function lowered(key, node, epoch, bytes)
    local grant = grant_of(redis.call('HGET', key, node))
    if not grant or grant.epoch ~= epoch then
        return 0, nil
    end
    local taken = math.min(bytes, grant.reserved)
    grant.reserved = grant.reserved - taken
    return taken, grant
end

-- keys: account, grants. args: node, epoch, bytes. Returns what was given back.
local function release(keys, args)
    arity(keys, args, 2, 3, 3)
    local node, epoch = node_of(args, 1), id_of(args, 2, 'epoch')
    local bytes = integer(args, 3, 'bytes', 0)
    local reserved = stored(redis.call('HGET', keys[1], 'reserved'), 'reserved')
    local taken, grant = lowered(keys[2], node, epoch, bytes)
    if taken > 0 then
        redis.call('HSET', keys[2], node, grant_text(grant))
        redis.call('HSET', keys[1], 'reserved', text(math.max(0, reserved - taken)))
    end
    return taken
end

-- args from 7: file, bytes, responses, once per file.
local function post_usage(keys, args, account, to)
    if (#args - 6) % 3 ~= 0 or #args < 9 then
        refuse('files: file, bytes, responses expected')
    end
    local fields, added, sum = {}, {}, 0
    for i = 7, #args, 3 do
        local bytes = integer(args, i + 1, 'bytes', 0)
        local responses = integer(args, i + 2, 'responses', 0)
        if args[i] == '' then
            refuse('file is empty')
        end
        sum = bounded(sum + bytes, 'bytes')
        fields[#fields + 1], added[#added + 1] = 'b:' .. args[i], bytes
        fields[#fields + 1], added[#added + 1] = 'r:' .. args[i], responses
    end
    local totals, sets = {}, {}
    for i, field in ipairs(fields) do
        local total = totals[field] or stored(redis.call('HGET', keys[3], field), field)
        totals[field] = bounded(total + added[i], field)
    end
    local balance, used, reserved = account.balance, bounded(account.used + sum, 'used'), account.reserved
    if account.plan ~= 'postpaid' then
        balance = bounded(balance - sum, 'balance')
    end
    local taken, grant = lowered(keys[2], args[2], args[3], sum)
    -- from here on only writes
    for field, total in pairs(totals) do
        if total > 0 then
            redis.call('HSET', keys[3], field, text(total))
        end
    end
    if taken > 0 then
        redis.call('HSET', keys[2], args[2], grant_text(grant))
        redis.call('HSET', keys[1], 'reserved', text(math.max(0, reserved - taken)))
    end
    redis.call('HSET', keys[1], 'balance', text(balance), 'used', text(used),
        'w:' .. args[1], text(to))
end

local OPERATIONS = {open = true, top_up = true, suspend = true, activate = true, adjust = true}

-- The plan is that of the earliest open, whichever node's journal brings it first.
local function open_fields(account, set, plan, time, transaction)
    local opened = text(time) .. ' ' .. transaction
    local known, id = string.match(account.opened or '', '^(%d+) (.*)$')
    known = known and number_of(known)
    if known and (known < time or (known == time and id <= transaction)) then
        return
    end
    set.opened, set.plan = opened, plan
    if account.plan ~= 'postpaid' and plan == 'postpaid' then
        set.balance = set.balance + account.used
    elseif account.plan == 'postpaid' and plan == 'prepaid' then
        set.balance = set.balance - account.used
    end
    if not account.status then
        set.status = 'active'
    end
end

-- args from 7: operation, amount, plan, time_ms, transaction ('' for none).
local function post_money(keys, args, account, to)
    arity(keys, args, 3, 11, 11)
    local operation, plan = args[7], args[9]
    local amount, time = integer(args, 8, 'amount', -MAX), integer(args, 10, 'time', 0)
    local transaction = match(args, 11, 'transaction', '^[A-Za-z0-9._:%-]*$', 64)
    if not OPERATIONS[operation] then
        refuse('operation is unknown')
    end
    if plan ~= 'prepaid' and plan ~= 'postpaid' and not (plan == '-' and operation ~= 'open') then
        refuse('plan is unknown')
    end
    local set = {balance = account.balance + amount}
    local watermark = 'w:' .. args[1]
    local content = operation .. ' ' .. text(amount) .. ' ' .. plan
    local known = transaction ~= '' and redis.call('HGET', keys[3], transaction)
    if operation == 'open' then
        open_fields(account, set, plan, time, transaction)
    elseif operation == 'suspend' or operation == 'activate' then
        set.revision = account.revision + 1
        if time >= account.status_at then
            set.status = operation == 'suspend' and 'suspended' or 'active'
            set.status_at = time
        end
    end
    if known or set.balance > MAX or set.balance < -MAX then
        -- Never twice; and what contradicts an earlier one is counted for people to look at.
        if known ~= content then
            redis.call('HSET', keys[1], 'conflicts', text(account.conflicts + 1))
        end
        redis.call('HSET', keys[1], watermark, text(to))
        return
    end
    for field, value in pairs(set) do
        redis.call('HSET', keys[1], field, type(value) == 'number' and text(value) or value)
    end
    if transaction ~= '' then
        redis.call('HSET', keys[3], transaction, content)
    end
    redis.call('HSET', keys[1], watermark, text(to))
end

-- keys: account, grants, and the day's usage or the transactions.
-- args: instance, node, epoch, from, to, "usage" or "money", and what these take.
-- Returns {0 posted or 1 refused, watermark}.
local function post(keys, args)
    arity(keys, args, 3, 9, 4096)
    local instance = id_of(args, 1, 'instance')
    node_of(args, 2)
    id_of(args, 3, 'epoch')
    local from, to = integer(args, 4, 'from', 1), integer(args, 5, 'to', 1)
    if to < from then
        refuse('to is less than from')
    end
    local f = redis.call('HMGET', keys[1], 'w:' .. instance, 'plan', 'status', 'opened', 'balance',
        'used', 'reserved', 'status_at', 'revision', 'conflicts')
    local watermark = stored(f[1], 'watermark')
    if watermark + 1 ~= from then
        return {1, watermark}
    end
    local account = {plan = f[2], status = f[3], opened = f[4], balance = stored(f[5], 'balance'),
        used = stored(f[6], 'used'), reserved = stored(f[7], 'reserved'),
        status_at = stored(f[8], 'status_at'), revision = stored(f[9], 'revision'),
        conflicts = stored(f[10], 'conflicts')}
    if args[6] == 'usage' then
        post_usage(keys, args, account, to)
    elseif args[6] == 'money' and from == to then
        post_money(keys, args, account, to)
    else
        refuse('kind is neither usage nor one money record')
    end
    return {0, to}
end

-- keys: node. args: instance, epoch, lease_ms.
-- Returns {0 held, 1 another instance's, 2 another epoch's, milliseconds left, until, held before}.
local function lease(keys, args)
    arity(keys, args, 1, 3, 3)
    local instance, epoch = id_of(args, 1, 'instance'), id_of(args, 2, 'epoch')
    local duration = integer(args, 3, 'lease', 1, 86400000)
    local known = redis.call('HMGET', keys[1], 'instance', 'epoch', 'until')
    local now, till = now_ms(), stored(known[3], 'until')
    if known[1] and known[1] ~= instance then
        return {1, math.max(0, till - now), till, 0}
    end
    if known[1] and known[2] ~= epoch and till > now then
        return {2, till - now, till, 0}
    end
    redis.call('HSET', keys[1], 'instance', instance, 'epoch', epoch, 'until', text(now + duration))
    return {0, duration, now + duration, known[2] == epoch and 1 or 0}
end

-- keys: node. args: instance, epoch. The name stays this instance's. Returns 1 where it was held.
local function lease_release(keys, args)
    arity(keys, args, 1, 2, 2)
    local instance, epoch = id_of(args, 1, 'instance'), id_of(args, 2, 'epoch')
    local known = redis.call('HMGET', keys[1], 'instance', 'epoch')
    if known[1] ~= instance or known[2] ~= epoch then
        return 0
    end
    redis.call('HSET', keys[1], 'until', '0')
    return 1
end

redis.register_function('tollgate_admit', admit)
redis.register_function('tollgate_release', release)
redis.register_function('tollgate_post', post)
redis.register_function('tollgate_lease', lease)
redis.register_function('tollgate_lease_release', lease_release)
redis.register_function{
    function_name = 'tollgate_version',
    callback = function() return VERSION end,
    flags = {'no-writes'}
}
