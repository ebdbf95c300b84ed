local OPERATIONS = {open = true, top_up = true, suspend = true, activate = true, adjust = true,
    revoke_link = true, revoke_before = true, limit = true}
local MONEY_OPERATIONS = {open = true, top_up = true, adjust = true}

-- ---- which of two operations comes first ----

-- An operation's rank is "number time node": by its number; two without one (0, of old journals) by
-- their time; and two that are alike, as after Redis lost data, by their nodes' names.
local function rank_of(value, name)
    if not value then
        return nil
    end
    local number, time, node = string.match(value, '^(%d+) (%d+) ([a-z0-9%-]+)')
    local rank = {number = number_of(number), time = number_of(time), node = node}
    if not rank.number or not rank.time then
        refuse_stored('stored ' .. name .. ' is malformed')
    end
    return rank
end

local function rank_text(rank)
    return text(rank.number) .. ' ' .. text(rank.time) .. ' ' .. rank.node
end

-- Less than 0 where `one` comes before `other`, 0 where they are the same.
local function rank_compare(one, other)
    if one.number ~= other.number then
        return one.number - other.number
    end
    if one.number == 0 and one.time ~= other.time then
        return one.time - other.time
    end
    return one.node == other.node and 0 or one.node < other.node and -1 or 1
end

-- ---- transactions ----

-- A transaction is stored as its content, "operation amount plan", from the moment a node is given a
-- number for it; behind that stands the rank of the one that counts, once one was posted, the instance in
-- whose journal that one is, and then "conflict" where one with another content was posted, too. It
-- stands in one hash of the ring, in that of the time when it was posted first.
local function transaction_of(value)
    if not value then
        return nil
    end
    local operation, amount, plan, rest = string.match(value, '^(%S+) (%S+) (%S+)(.*)$')
    local bytes = number_of(amount)
    local instance = rest and string.match(rest, '^ %d+ %d+ %S+ (%x+)')
    if not bytes or rest ~= '' and not instance then
        refuse_stored('stored transaction is malformed')
    end
    return {operation = operation, content = operation .. ' ' .. amount .. ' ' .. plan,
        conflict = string.match(rest, ' conflict$') ~= nil, instance = instance,
        bytes = MONEY_OPERATIONS[operation] and bytes or 0,
        rank = instance and rank_of(string.sub(rest, 2), 'transaction')}
end

-- Looks for a transaction in the ring, whose keys begin at `first`. Returns its text and its slot; nil where it
-- is in none.
local function transaction_find(keys, first, id)
    for slot = 1, TRANSACTION_KEYS_COUNT do
        local value = redis.call('HGET', keys[first + slot - 1], id)
        if value then
            return value, slot
        end
    end
end

-- Stores a transaction where it stood, or in the slot of this time: one that was not posted yet moves there,
-- so that it lasts from its post on.
local function transaction_write(keys, first, id, value, stood, slot, till)
    local key = keys[first + slot - 1]
    if stood and stood ~= slot then
        redis.call('HDEL', keys[first + stood - 1], id)
    end
    redis.call('HSET', key, id, value)
    last_until(key, till)
end

-- The operation that `args` names at the positions `at`: those of ORDER or MONEY.
local function operation_of(args, at)
    local of = {operation = args[at.operation], plan = args[at.plan],
        amount = integer(args, at.amount, 'amount', -MAX),
        transaction = match(args, at.transaction, 'transaction', '^[A-Za-z0-9._:%-]*$', 64)}
    if not OPERATIONS[of.operation] then
        refuse('operation is unknown')
    end
    if of.plan ~= 'prepaid' and of.plan ~= 'postpaid' and not (of.plan == '-' and of.operation ~= 'open') then
        refuse('plan is unknown')
    end
    of.bytes = MONEY_OPERATIONS[of.operation] and of.amount or 0
    of.content = of.operation .. ' ' .. text(of.amount) .. ' ' .. of.plan
    return of
end

-- ---- what is about to be posted ----

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

-- What an adjustment that takes bytes away needs held. Returns a verdict other than TAKEN, or nil and
-- what to store.
local function hold_for(of, value, balance, now, till)
    local others, sum, count, own = holds_beside(value, of.transaction, now)
    local amount = math.max(-of.amount, own) -- the id used twice at once: either may be the one that counts
    if balance - sum - amount < 0 then
        return VERDICT.TOO_LITTLE
    elseif count >= HOLDS_MAX then
        return VERDICT.BUSY
    end
    return nil, others .. of.transaction .. ' ' .. text(amount) .. ' ' .. text(till) .. ';'
end

-- Whether another transaction is about to open the account: `opening` is "transaction until_ms".
local function opens_beside(value, transaction, now)
    local id, till = string.match(value or '', '^(%S+) (%d+)$')
    return id and id ~= transaction and stored(till, 'opening') > now
end

-- Judges an operation before it is journalled, and gives it its number: one above the highest of the
-- account, and at least `least`. The same transaction at two nodes at once gets two numbers, and
-- counts once. Takes ORDER_KEYS and ORDER. Returns {verdict, number}.
local function order(keys, args)
    arity(keys, args, ORDER_KEYS_COUNT, ORDER_COUNT, ORDER_COUNT)
    local key = keys[ORDER_KEYS.account]
    local of = operation_of(args, ORDER)
    local least = integer(args, ORDER.least, 'least', 1)
    local negative = integer(args, ORDER.allow_negative, 'allow_negative', 0, 1)
    local lasts = integer(args, ORDER.lasts, 'lasts', 1, 86400000)
    local f = redis.call('HMGET', key, 'plan', 'balance', 'operations', 'holds', 'opening',
        'filling')
    local balance, number = stored(f[2], 'balance'), math.max(stored(f[3], 'operations') + 1, least)
    local value, stood
    if of.transaction ~= '' then
        value, stood = transaction_find(keys, ORDER_KEYS.transactions_0, of.transaction)
    end
    local known, now = transaction_of(value), now_ms()
    bounded(number, 'the number')
    if f[6] and is_filling(f[6]) then
        return {VERDICT.FILLING, 0}
    elseif known and (known.rank or known.content ~= of.content) then
        return {known.content == of.content and VERDICT.KNOWN or VERDICT.CONTRADICTED, 0}
    elseif of.operation == 'open' and f[1] then
        return {VERDICT.OPEN, 0}
    elseif of.operation == 'open' and opens_beside(f[5], of.transaction, now) then
        return {VERDICT.BUSY, 0}
    elseif of.operation ~= 'open' and not f[1] then
        return {VERDICT.NOT_OPEN, 0}
    elseif balance + of.bytes > MAX or balance + of.bytes < -MAX then
        return {VERDICT.TOO_LARGE, 0}
    end
    local verdict, holds
    if of.operation == 'adjust' and of.amount < 0 and negative == 0 then
        verdict, holds = hold_for(of, f[4], balance, now, now + lasts)
    end
    if verdict then
        return {verdict, 0}
    end
    -- from here on only writes
    redis.call('HSET', key, 'operations', text(number))
    if holds then
        holds_write(key, holds)
    end
    if of.operation == 'open' then
        redis.call('HSET', key, 'opening', of.transaction .. ' ' .. text(now + lasts))
    end
    if of.transaction ~= '' then
        local slot, till = slot_at(now)
        transaction_write(keys, ORDER_KEYS.transactions_0, of.transaction, of.content, stood, slot, till)
    end
    return {VERDICT.TAKEN, number}
end
