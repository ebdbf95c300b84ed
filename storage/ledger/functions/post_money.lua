local OPERATIONS = {open = true, top_up = true, suspend = true, activate = true, adjust = true,
    revoke_link = true, revoke_before = true, limit = true}

-- Has the nodes that hold grants of the account ask again. On a cluster a message reaches all of
-- its servers. A user who may not publish is not a reason to fail: everything is written by then,
-- and the nodes report that they cannot hear.
local function announce(key, revision)
    redis.pcall('PUBLISH', 'tg:revocations', string.match(key, '{(.*)}') .. ' ' .. text(revision))
end

-- The earliest opening decides the plan, whichever node's journal brings it first.
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

-- Posts an operation that moves no money. Behind POST_KEYS stands the link of revoke_link, whose
-- amount is when its state may go (ms). The amount of revoke_before is in seconds; that of limit is the rate,
-- followed by max_bytes and max_conns.
local function post_control(keys, args, account, operation, amount, time, set)
    if operation == 'revoke_link' then
        local link = keys[POST_KEYS_COUNT + 1]
        if not link or amount < 0 then
            refuse('revoke_link: a key and a time expected')
        end
        redis.call('HSET', link, 'revoked', text(time))
        keep_until(link, amount)
    elseif operation == 'revoke_before' then
        set.revoked_before = math.max(account.revoked_before, amount)
    elseif operation == 'limit' and time >= account.limits_at then
        set.rate, set.max_bytes, set.max_conns = amount, integer(args, MONEY.max_bytes, 'max_bytes', 0),
            integer(args, MONEY.max_conns, 'max_conns', 0)
        set.limits_at = time
    elseif (operation == 'suspend' or operation == 'activate') and time >= account.status_at then
        set.status = operation == 'suspend' and 'suspended' or 'active'
        set.status_at = time
    end
    set.revision = account.revision + 1
end

-- The bytes that an adjustment takes away are held from the moment it is allowed until it is
-- posted, so that two that come at once are not both allowed on the same balance. `holds` of the
-- account has "transaction amount until_ms;" for each. A node that died before it journalled leaves
-- its hold until that ends. The post of an adjustment asks for nothing: what was allowed and
-- journalled counts, whichever order journals are replayed in.
local HOLDS_MAX = 100

-- The holds of other transactions: their text, their sum, how many; and the bytes held for
-- `transaction`.
local function holds_beside(value, transaction, now)
    local others, sum, count, own = '', 0, 0, 0
    for id, amount, till in string.gmatch(value or '', '([^ ;]+) (%d+) (%d+);') do
        local bytes = stored(amount, 'hold')
        if stored(till, 'hold') > now then
            if id == transaction then
                own = bytes
            else
                others, sum, count = others .. id .. ' ' .. amount .. ' ' .. till .. ';', sum + bytes, count + 1
            end
        end
    end
    return others, sum, count, own
end

local function holds_write(key, value)
    if value == '' then
        redis.call('HDEL', key, 'holds')
    else
        redis.call('HSET', key, 'holds', value)
    end
end

-- Takes HOLD_KEYS and HOLD: the amount is what an adjustment takes away. Returns 1: held; 0: the
-- balance would fall below zero; -1: too many holds, ask again.
local function hold(keys, args)
    arity(keys, args, HOLD_KEYS_COUNT, HOLD_COUNT, HOLD_COUNT)
    local key = keys[HOLD_KEYS.account]
    local transaction = match(args, HOLD.transaction, 'transaction', '^[A-Za-z0-9._:%-]+$', 64)
    local amount = integer(args, HOLD.amount, 'amount', 1)
    local lasts = integer(args, HOLD.lasts, 'hold', 1, 86400000)
    local f, now = redis.call('HMGET', key, 'balance', 'holds'), now_ms()
    local balance = stored(f[1], 'balance')
    local others, sum, count, own = holds_beside(f[2], transaction, now)
    amount = math.max(amount, own) -- the id used twice at once: either may be the one that counts
    if balance - sum - amount < 0 then
        return 0
    elseif count >= HOLDS_MAX then
        return -1
    end
    holds_write(key, others .. transaction .. ' ' .. text(amount) .. ' ' .. text(now + lasts) .. ';')
    return 1
end

-- Takes POST_KEYS and, for revoke_link, the link; and MONEY.
local function post_money(keys, args, account, to)
    if #keys > POST_KEYS_COUNT + 1 or #args ~= MONEY_COUNT then
        refuse('money: wrong number of keys or arguments')
    end
    local account_key, transactions = keys[POST_KEYS.account], keys[POST_KEYS.entries]
    local operation, plan = args[MONEY.operation], args[MONEY.plan]
    local amount, time = integer(args, MONEY.amount, 'amount', -MAX), integer(args, MONEY.time_ms, 'time', 0)
    local transaction = match(args, MONEY.transaction, 'transaction', '^[A-Za-z0-9._:%-]*$', 64)
    if not OPERATIONS[operation] then
        refuse('operation is unknown')
    end
    if plan ~= 'prepaid' and plan ~= 'postpaid' and not (plan == '-' and operation ~= 'open') then
        refuse('plan is unknown')
    end
    local is_money = operation == 'open' or operation == 'top_up' or operation == 'adjust'
    local set = {balance = account.balance + (is_money and amount or 0)}
    local watermark = 'w:' .. args[POST.instance]
    local content = operation .. ' ' .. text(amount) .. ' ' .. plan
    local known = transaction ~= '' and redis.call('HGET', transactions, transaction)
    local held = operation == 'adjust' and redis.call('HGET', account_key, 'holds')
    local holds = held and holds_beside(held, transaction, now_ms())
    if operation == 'open' then
        open_fields(account, set, plan, time, transaction)
    end
    if known or set.balance > MAX or set.balance < -MAX then
        -- A transaction never counts twice, and one that contradicts an earlier one, or would pass
        -- the bounds, is counted as a conflict for people to look at.
        if known ~= content then
            redis.call('HSET', account_key, 'conflicts', text(account.conflicts + 1))
        end
        if held then
            holds_write(account_key, holds)
        end
        redis.call('HSET', account_key, watermark, text(to))
        return
    end
    if not is_money then
        post_control(keys, args, account, operation, amount, time, set)
    end
    for field, value in pairs(set) do
        redis.call('HSET', account_key, field, type(value) == 'number' and text(value) or value)
    end
    if held then
        holds_write(account_key, holds)
    end
    if transaction ~= '' then
        redis.call('HSET', transactions, transaction, content)
    end
    redis.call('HSET', account_key, watermark, text(to))
    if set.revision then
        announce(account_key, set.revision)
    end
end
