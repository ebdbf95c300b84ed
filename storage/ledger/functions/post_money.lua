-- The earliest opening decides the plan, whichever node's journal brings it first.
local function open_fields(account, set, of)
    if account.opened and rank_compare(of.rank, account.opened) >= 0 then
        return
    end
    set.opened, set.plan = rank_text(of.rank) .. ' ' .. of.transaction, of.plan
    if account.plan ~= 'postpaid' and of.plan == 'postpaid' then
        set.balance = set.balance + account.used
    elseif account.plan == 'postpaid' and of.plan == 'prepaid' then
        set.balance = set.balance - account.used
    end
    if not account.status then
        set.status = 'active'
    end
end

-- The operation that `args` names at the positions `at`, with its rank and what `limit` sets.
local function operation_at(args, at)
    local of = operation_of(args, at)
    of.rank = {number = integer(args, at.number, 'number', 0), time = integer(args, at.time_ms, 'time', 0),
        node = match(args, at.by, 'node', '^[a-z0-9%-]+$', 32)}
    if of.operation == 'limit' then
        of.max_bytes = integer(args, at.max_bytes, 'max_bytes', 0)
        of.max_conns = integer(args, at.max_conns, 'max_conns', 0)
    elseif of.operation == 'revoke_link' and of.amount < 0 then
        refuse('revoke_link: a time expected')
    end
    return of
end

-- What an operation sets that moves no money. The amount of revoke_link is when the link's state may go (ms), that of
-- revoke_before is in seconds, and that of limit is the rate. Each of them has the same effect whatever was
-- posted before it: revocations only add up, and of the others the one with the highest rank counts.
local function control_fields(account, of, set)
    local operation, rank = of.operation, of.rank
    if operation == 'revoke_link' then
        set.revoked_until = math.max(account.revoked_until, bounded(of.amount + LINK_KEPT_MS, 'revoked_until'))
    elseif operation == 'revoke_before' then
        set.revoked_before = math.max(account.revoked_before, of.amount)
    elseif operation == 'limit' then
        if not account.limits_at or rank_compare(rank, account.limits_at) >= 0 then
            set.rate, set.max_bytes, set.max_conns = of.amount, of.max_bytes, of.max_conns
            set.limits_at = rank_text(rank)
        end
    elseif not account.status_at or rank_compare(rank, account.status_at) >= 0 then
        set.status = operation == 'suspend' and 'suspended' or 'active'
        set.status_at = rank_text(rank)
    end
end

local function revoke_link(link, of)
    local revoked = redis.call('HGET', link, 'revoked')
    redis.call('HSET', link, 'revoked',
        text(revoked and math.min(stored(revoked, 'revoked'), of.rank.time) or of.rank.time))
    keep_until(link, of.amount)
end

-- Adds the transaction's money to the balance, unless it counts already. Of two with the same id and
-- another content the one with the lower rank counts, and people are told; of two with one content the
-- journal with the lower rank is where it counts. Returns what to store of the transaction, and the bytes
-- that it adds; nil where it does not count, because it would pass the bounds.
local function count_money(account, set, of, rank, known, instance)
    local counted, conflict, bytes = of, false, of.bytes
    if known and known.rank then
        conflict = known.conflict or known.content ~= of.content
        if rank_compare(rank, known.rank) >= 0 then
            counted, rank, instance = known, known.rank, known.instance
        end
        bytes = counted.bytes - known.bytes
    end
    local balance = set.balance + bytes
    if balance > MAX or balance < -MAX then
        return nil
    end
    if conflict and not known.conflict then
        set.conflicts = account.conflicts + 1
    end
    set.balance = balance
    return counted.content .. ' ' .. rank_text(rank) .. ' ' .. instance .. (conflict and ' conflict' or ''), bytes
end

-- Adds money to the sum of the transactions in its slot, which may be that of another time: then those have
-- ended. Money without a transaction's id is with the ended from the start. Returns the slot's end.
local function sum_money(account, set, bytes, has_id, slot, till)
    if not has_id then
        set.ended = bytes ~= 0 and bounded(account.ended + bytes, 'ended') or nil
        return nil
    end
    local money, until_now = slot_of(account.slots[slot])
    if until_now < till and money ~= 0 then
        set.ended = bounded(account.ended + money, 'ended')
    end
    if until_now < till then
        money, until_now = 0, till
    end
    set['t:' .. slot - 1] = text(bounded(money + bytes, 'the money of a slot')) .. ' ' .. text(until_now)
    return until_now
end

-- The transaction that is known by the id, and the slot and end for its post: the slot where one was
-- posted before, else that of this time.
local function slot_for(account, known, stood, now)
    local slot, till = slot_at(now)
    if not known or not known.rank then
        return slot, till
    end
    local _, until_now = slot_of(account.slots[stood])
    if until_now == 0 then
        refuse_stored('the account is gone, and its transactions are not')
    end
    return stood, until_now
end

-- What an operation comes to, of whose transaction the ring has `value` in the slot `stood`: the fields of the
-- account that it sets; and what to store of its transaction, where that has an id and counts, in which slot,
-- and when that ends. Writes nothing.
local function operation_fields(account, of, value, stood, now, instance)
    local set, known, has_id = {balance = account.balance}, transaction_of(value), of.transaction ~= ''
    local slot, till = slot_for(account, known, stood, now)
    if of.operation == 'open' then
        open_fields(account, set, of)
    end
    local counted, bytes = count_money(account, set, of, of.rank, known, instance)
    if counted then
        till = sum_money(account, set, bytes, has_id, slot, till)
    else
        set = {conflicts = account.conflicts + 1}
    end
    if not MONEY_OPERATIONS[of.operation] then
        control_fields(account, of, set)
    end
    return set, has_id and counted or nil, slot, till
end

-- Takes POST_MONEY_KEYS and, for revoke_link, the link; and MONEY.
local function post_money(keys, args, account, to)
    if #keys < POST_MONEY_KEYS_COUNT or #keys > POST_MONEY_KEYS_COUNT + 1 or #args ~= MONEY_COUNT then
        refuse('money: wrong number of keys or arguments')
    end
    local account_key, now = keys[POST_KEYS.account], now_ms()
    local of, link = operation_at(args, MONEY), keys[POST_MONEY_KEYS_COUNT + 1]
    local value, stood
    if of.transaction ~= '' then
        value, stood = transaction_find(keys, POST_MONEY_KEYS.transactions_0, of.transaction)
    end
    if of.operation == 'revoke_link' and not link then
        refuse('revoke_link: a key expected')
    end
    local held = of.operation == 'adjust' and redis.call('HGET', account_key, 'holds')
    local holds = held and holds_beside(held, of.transaction, now)
    local set, counted, slot, till = operation_fields(account, of, value, stood, now, args[POST.instance])
    if not MONEY_OPERATIONS[of.operation] then
        set.revision = account.revision + 1
    end
    -- from here on only writes
    if of.operation == 'revoke_link' then
        revoke_link(link, of)
    end
    for field, value in pairs(set) do
        redis.call('HSET', account_key, field, type(value) == 'number' and text(value) or value)
    end
    if held then
        holds_write(account_key, holds)
    end
    if of.operation == 'open' then
        redis.call('HDEL', account_key, 'opening')
    end
    if counted then
        transaction_write(keys, POST_MONEY_KEYS.transactions_0, of.transaction, counted, stood, slot, till)
    end
    redis.call('HSET', account_key, 'operations', text(math.max(account.operations, of.rank.number)),
        'w:' .. args[POST.instance], text(to))
    if set.revision then
        announce(account_key, text(set.revision))
    elseif set.balance and set.balance < account.balance then
        announce(account_key, 'recall') -- else nodes could spend beyond the balance what they hold idle
    end
end
