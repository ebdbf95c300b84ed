local function account_of(key)
    local f = redis.call('HMGET', key, 'status', 'plan', 'balance', 'reserved', 'revision', 'used',
        'revoked_before', 'rate', 'max_bytes', 'max_conns')
    return {
        status = f[1], plan = f[2], balance = stored(f[3], 'balance'), reserved = stored(f[4], 'reserved'),
        revision = stored(f[5], 'revision'), used = stored(f[6], 'used'),
        revoked_before = stored(f[7], 'revoked_before'), rate = stored(f[8], 'rate'),
        max_bytes = stored(f[9], 'max_bytes'), max_conns = stored(f[10], 'max_conns')
    }
end

local function refusal(admission, account)
    return {admission, 0, 0, account.revision, 0, 0, 0, 0, 0, 0}
end

-- keys: account, grants, link, link's grants. args: node, epoch, need, want, validity_ms, iat, and
-- those of terms_of. Returns {admission, granted, funds, revision, rate, max_conns, opened, till,
-- acknowledged, left}. `funds` are those from which the bytes were reserved; no more than the bytes
-- may then be sent (0: nothing bounds them). The last four describe the use's window (0: there is
-- none): when it was opened, until when it is open, what has arrived in it, and how many ms of it
-- are left. Unless `takes`, nothing is written and the answer says what would be granted.
local function judge(keys, args, takes)
    arity(keys, args, 4, 6, 14)
    local node, epoch = node_of(args, 1), id_of(args, 2, 'epoch')
    local need, want = integer(args, 3, 'need', 0), integer(args, 4, 'want', 0)
    local validity = integer(args, 5, 'validity', 1, 86400000)
    local iat = integer(args, 6, 'iat', 0)
    local terms = terms_of(args)
    if want < need then
        refuse('want is less than need')
    end
    local account = account_of(keys[1])
    if not account.plan then
        return refusal(UNKNOWN, account) -- usage or money may come before another node's open
    end
    local link = terms and redis.call('HMGET', keys[3], 'revoked', 'bytes', 'reserved', 'p:' .. terms.path) or
        {redis.call('HGET', keys[3], 'revoked')}
    if link[1] or iat < account.revoked_before then
        return refusal(REVOKED, account) -- first, since this is for good and the rest may end
    end
    if account.status ~= 'active' then
        return refusal(SUSPENDED, account)
    end
    local now, use, admission
    if terms then
        now = now_ms()
        admission, use = use_admit(use_of(link[4]), terms, now)
        if admission ~= GRANTED then
            return refusal(admission, account)
        end
    end
    local funds, granted = funds_of(keys, account, terms, link), want
    if not terms and #funds == 0 then -- nothing to reserve, nothing to store
        return {GRANTED, granted, 0, account.revision, account.rate, account.max_conns, 0, 0, 0, 0}
    end
    now = now or now_ms()
    for _, fund in ipairs(funds) do
        fund_open(fund, node, epoch, need, now)
        if need > 0 and fund.available < need then
            return refusal(fund.admission, account)
        end
        granted = math.min(granted, need > 0 and math.max(need, math.floor(fund.available / 4)) or 0)
    end
    local expires = bounded(now + 2 * validity, 'the expiry')
    local bits = 0
    for _, fund in ipairs(funds) do
        bits = bits + fund.bit
        fund_check(fund, granted, expires)
    end
    -- from here on only writes
    for _, fund in ipairs(takes and funds or {}) do
        fund_write(fund)
    end
    if takes and use then
        redis.call('HSET', keys[3], 'p:' .. terms.path, use_text(use))
    end
    if takes and terms then
        keep_until(keys[3], terms.keep)
        keep_until(keys[4], terms.keep)
    end
    return {GRANTED, granted, bits, account.revision, account.rate, account.max_conns,
        use and use.opened[#use.opened] or 0, use and use.till or 0, use and use.acknowledged or 0,
        use and math.max(0, use.till - now) or 0}
end

-- keys: account, grants, link, link's grants. args: node, epoch, bytes of the account's, bytes of
-- the link's. Returns what the account got back.
local function release(keys, args)
    arity(keys, args, 4, 4, 4)
    local node, epoch = node_of(args, 1), id_of(args, 2, 'epoch')
    local bytes, link_bytes = integer(args, 3, 'bytes', 0), integer(args, 4, 'bytes', 0)
    local reserved = stored(redis.call('HGET', keys[1], 'reserved'), 'reserved')
    local link_reserved = stored(redis.call('HGET', keys[3], 'reserved'), 'reserved')
    local taken, grant = lowered(keys[2], node, epoch, bytes)
    local link_taken, link_grant = lowered(keys[4], node, epoch, link_bytes)
    lowered_write(keys[2], node, keys[1], taken, grant, reserved)
    lowered_write(keys[4], node, keys[3], link_taken, link_grant, link_reserved)
    return taken
end
