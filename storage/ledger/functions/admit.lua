local function account_of(key, instance)
    local f = redis.call('HMGET', key, 'status', 'plan', 'balance', 'reserved', 'revision', 'used',
        'revoked_before', 'rate', 'max_bytes', 'max_conns', 'l:' .. instance)
    return {
        status = f[1], plan = f[2], balance = stored(f[3], 'balance'), reserved = stored(f[4], 'reserved'),
        revision = stored(f[5], 'revision'), used = stored(f[6], 'used'),
        revoked_before = stored(f[7], 'revoked_before'), rate = stored(f[8], 'rate'),
        max_bytes = stored(f[9], 'max_bytes'), max_conns = stored(f[10], 'max_conns'), lease = stored(f[11], 'lease')
    }
end

local function refusal(admission, account)
    return {admission, 0, 0, account.revision, 0, 0, 0, 0, 0, 0}
end

-- Takes GRANT_KEYS, and ADMIT or TERMS. Returns {admission, granted, funds, revision, rate,
-- max_conns, opened, till, acknowledged, left}. `funds` are those from which the bytes were reserved; no more than the bytes
-- may then be sent (0: nothing bounds them). The last four describe the use (0: there is
-- none): when it was opened, until when it is open, what has arrived in it, and how many ms of it
-- are left. OUTDATED: a later process of the instance has asked or posted, whose lease's number stands
-- in place of `granted`. Unless `takes`, nothing is written and the answer says what would be granted.
local function judge(keys, args, takes)
    arity(keys, args, GRANT_KEYS_COUNT, ADMIT_COUNT, TERMS_COUNT)
    local instance, lease = instance_of(args, ADMIT.instance), integer(args, ADMIT.lease, 'lease', 1)
    local need, want = integer(args, ADMIT.need, 'need', 0), integer(args, ADMIT.want, 'want', 0)
    local validity = integer(args, ADMIT.validity_ms, 'validity', 1, 86400000)
    local iat = integer(args, ADMIT.iat, 'iat', 0)
    local terms = terms_of(args)
    if want < need then
        refuse('want is less than need')
    end
    local link_key = keys[GRANT_KEYS.link]
    local account = account_of(keys[GRANT_KEYS.account], instance)
    if account.lease > lease then
        return {OUTDATED, account.lease, 0, 0, 0, 0, 0, 0, 0, 0}
    end
    if not account.plan then
        return refusal(UNKNOWN, account) -- usage or money may come before another node's open
    end
    local note = takes and account.lease < lease and 'l:' .. instance
    local link = terms and redis.call('HMGET', link_key, 'revoked', 'bytes', 'reserved', 'p:' .. terms.path) or
        {redis.call('HGET', link_key, 'revoked')}
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
    if not terms and #funds == 0 then -- nothing to reserve
        if note then
            redis.call('HSET', keys[GRANT_KEYS.account], note, text(lease))
        end
        return {GRANTED, granted, 0, account.revision, account.rate, account.max_conns, 0, 0, 0, 0}
    end
    now = now or now_ms()
    for _, fund in ipairs(funds) do
        fund_open(fund, instance, lease, need, now)
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
    if note then
        redis.call('HSET', keys[GRANT_KEYS.account], note, text(lease))
    end
    for _, fund in ipairs(takes and funds or {}) do
        fund_write(fund)
    end
    if takes and use then
        redis.call('HSET', link_key, 'p:' .. terms.path, use_text(use))
    end
    if takes and terms then
        keep_until(link_key, terms.keep)
        keep_until(keys[GRANT_KEYS.link_grants], terms.keep)
    end
    return {GRANTED, granted, bits, account.revision, account.rate, account.max_conns,
        use and use.opened[#use.opened] or 0, use and use.till or 0, use and use.acknowledged or 0,
        use and math.max(0, use.till - now) or 0}
end

-- Takes GRANT_KEYS and RELEASE. Returns what the account got back.
local function release(keys, args)
    arity(keys, args, GRANT_KEYS_COUNT, RELEASE_COUNT, RELEASE_COUNT)
    local instance, lease = instance_of(args, RELEASE.instance), integer(args, RELEASE.lease, 'lease', 1)
    local bytes = integer(args, RELEASE.account_bytes, 'bytes', 0)
    local link_bytes = integer(args, RELEASE.link_bytes, 'bytes', 0)
    local account, grants = keys[GRANT_KEYS.account], keys[GRANT_KEYS.grants]
    local link, link_grants = keys[GRANT_KEYS.link], keys[GRANT_KEYS.link_grants]
    local reserved = stored(redis.call('HGET', account, 'reserved'), 'reserved')
    local link_reserved = stored(redis.call('HGET', link, 'reserved'), 'reserved')
    local taken, grant = lowered(grants, instance, lease, true, bytes)
    local link_taken, link_grant = lowered(link_grants, instance, lease, true, link_bytes)
    lowered_write(grants, instance, account, taken, grant, reserved)
    lowered_write(link_grants, instance, link, link_taken, link_grant, link_reserved)
    return taken
end
