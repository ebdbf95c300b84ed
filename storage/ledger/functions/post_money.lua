-- The earliest opening decides the plan, whichever node's journal brings it first.
local function open_fields(account, set, plan, rank, transaction)
    if account.opened and rank_compare(rank, account.opened) >= 0 then
        return
    end
    set.opened, set.plan = rank_text(rank) .. ' ' .. transaction, plan
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
-- followed by max_bytes and max_conns. Each of them has the same effect whatever was posted before it:
-- revocations only add up, and of the others the one with the highest rank counts.
local function post_control(keys, args, account, of, rank, set)
    local operation = of.operation
    if operation == 'revoke_link' then
        local link = keys[POST_KEYS_COUNT + 1]
        if not link or of.amount < 0 then
            refuse('revoke_link: a key and a time expected')
        end
        local revoked = redis.call('HGET', link, 'revoked')
        redis.call('HSET', link, 'revoked',
            text(revoked and math.min(stored(revoked, 'revoked'), rank.time) or rank.time))
        keep_until(link, of.amount)
        set.revoked_until = math.max(account.revoked_until, bounded(of.amount + LINK_KEPT_MS, 'revoked_until'))
    elseif operation == 'revoke_before' then
        set.revoked_before = math.max(account.revoked_before, of.amount)
    elseif operation == 'limit' then
        local max_bytes, max_conns = integer(args, MONEY.max_bytes, 'max_bytes', 0),
            integer(args, MONEY.max_conns, 'max_conns', 0)
        if not account.limits_at or rank_compare(rank, account.limits_at) >= 0 then
            set.rate, set.max_bytes, set.max_conns = of.amount, max_bytes, max_conns
            set.limits_at = rank_text(rank)
        end
    elseif not account.status_at or rank_compare(rank, account.status_at) >= 0 then
        set.status = operation == 'suspend' and 'suspended' or 'active'
        set.status_at = rank_text(rank)
    end
    set.revision = account.revision + 1
end

-- Adds the transaction's money to the balance, unless it counts already. Of two with the same id and
-- another content the one with the lower rank counts, and people are told. Returns what to store of
-- the transaction; nil where it does not count, because it would pass the bounds.
local function count_money(account, set, of, rank, known)
    local counted, conflict, bytes = of, false, of.bytes
    if known and known.rank then
        conflict = known.conflict or known.content ~= of.content
        if rank_compare(rank, known.rank) >= 0 then
            counted, rank = known, known.rank
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
    return counted.content .. ' ' .. rank_text(rank) .. (conflict and ' conflict' or '')
end

-- Takes POST_KEYS and, for revoke_link, the link; and MONEY.
local function post_money(keys, args, account, to)
    if #keys > POST_KEYS_COUNT + 1 or #args ~= MONEY_COUNT then
        refuse('money: wrong number of keys or arguments')
    end
    local account_key, transactions = keys[POST_KEYS.account], keys[POST_KEYS.entries]
    local of = operation_of(args, MONEY)
    local rank = {number = integer(args, MONEY.number, 'number', 0),
        time = integer(args, MONEY.time_ms, 'time', 0), node = match(args, MONEY.by, 'node', '^[a-z0-9%-]+$', 32)}
    local set = {balance = account.balance}
    local known = of.transaction ~= '' and transaction_of(redis.call('HGET', transactions, of.transaction))
    local held = of.operation == 'adjust' and redis.call('HGET', account_key, 'holds')
    local holds = held and holds_beside(held, of.transaction, now_ms())
    if of.operation == 'open' and known and known.rank and known.operation == 'open' and not account.plan then
        refuse_stored('the account is gone, and its transactions are not')
    end
    if of.operation == 'open' then
        open_fields(account, set, of.plan, rank, of.transaction)
    end
    local counted = count_money(account, set, of, rank, known)
    if not counted then
        set = {conflicts = account.conflicts + 1}
    end
    if not MONEY_OPERATIONS[of.operation] then
        post_control(keys, args, account, of, rank, set)
    end
    -- from here on only writes
    for field, value in pairs(set) do
        redis.call('HSET', account_key, field, type(value) == 'number' and text(value) or value)
    end
    if held then
        holds_write(account_key, holds)
    end
    if of.operation == 'open' then
        redis.call('HDEL', account_key, 'opening')
    end
    if of.transaction ~= '' and counted then
        redis.call('HSET', transactions, of.transaction, counted)
    end
    redis.call('HSET', account_key, 'operations', text(math.max(account.operations, rank.number)),
        'w:' .. args[POST.instance], text(to))
    if set.revision then
        announce(account_key, text(set.revision))
    elseif set.balance and set.balance < account.balance then
        announce(account_key, 'recall') -- else nodes could spend beyond the balance what they hold idle
    end
end
