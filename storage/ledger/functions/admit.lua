local function account_of(key, instance)
    local f = redis.call('HMGET', key, 'status', 'plan', 'balance', 'revision', 'used', 'revoked_before', 'rate',
        'max_bytes', 'max_conns', 'revoked_until', 'l:' .. instance, 'filling')
    return {
        status = f[1], plan = f[2], balance = stored(f[3], 'balance'), revision = stored(f[4], 'revision'),
        used = stored(f[5], 'used'), revoked_before = stored(f[6], 'revoked_before'), rate = stored(f[7], 'rate'),
        max_bytes = stored(f[8], 'max_bytes'), max_conns = stored(f[9], 'max_conns'),
        revoked_until = stored(f[10], 'revoked_until'), lease = stored(f[11], 'lease'), filling = f[12]
    }
end

-- The figures of the account's pool in a question; nil where it carries no funds.
local function account_told(args, lease)
    local count = integer(args, ADMIT.count, 'count', 0)
    return count > 0 and {lease = lease, count = count, is_new = false,
        ceiling = integer(args, ADMIT.ceiling, 'ceiling', 0), least = integer(args, ADMIT.least, 'least', 0),
        want = integer(args, ADMIT.want, 'want', 0), spare = integer(args, ADMIT.spare, 'spare', 0)}
end

-- The fund of the account: its balance, or what is left of its max_bytes. An account without a bound
-- has one only where the nodes share a limit of it, so that each is known to hold something.
local function account_fund(keys, account)
    local total, bounds = account.plan == 'prepaid' and account.balance or nil, BY_BALANCE
    if account.max_bytes > 0 and (not total or account.max_bytes - account.used < total) then
        total, bounds = account.max_bytes - account.used, BY_ACCOUNT_BYTES
    end
    if not total and (account.rate > 0 or account.max_conns > 0) then
        total, bounds = MAX, BY_NOTHING
    end
    return total and {key = keys[GRANT_KEYS.grants], total = total, bounds = bounds}
end

-- Whether the account may have a response of the link at all.
local function refusal_of(account, link_revoked, iat)
    if not account.plan then
        return UNKNOWN -- usage or money may come before another node's open
    end
    if link_revoked or iat < account.revoked_before then
        return REVOKED -- first, since this is for good and the rest may end
    end
    return account.status ~= 'active' and SUSPENDED or GRANTED
end

-- Tells the nodes that hold something of the account a new revision, by which they ask again, or
-- 'recall', by which they lower what they hold and do not need. On a cluster a message reaches all of
-- its servers. A user who may not publish is not a reason to fail: everything is written by then,
-- and the nodes report that they cannot hear.
local function announce(key, what)
    redis.pcall('PUBLISH', 'tg:revocations', string.match(key, '{(.*)}') .. ' ' .. what)
end

-- Recalls, but not again at once: many may ask while the nodes give back.
local function recall(key, now)
    if stored(redis.call('HGET', key, 'recalled'), 'recalled') + RECALL_MS > now then
        return
    end
    redis.call('HSET', key, 'recalled', text(now))
    announce(key, 'recall')
end

-- Raises all funds of the question, or none. Returns whether what others hold idle stands in the way.
local function raise_all(funds)
    local is_met, is_payable = true, true
    for _, fund in ipairs(funds) do
        is_met = is_met and fund.is_met
        is_payable = is_payable and fund.needed <= fund.bound
    end
    for _, fund in ipairs(funds) do
        if is_met or #funds == 1 then
            fund.pool.ceiling = bounded(fund.pool.ceiling + fund.raise, 'the ceiling')
        end
    end
    return not is_met and is_payable
end

-- Whether a number of the question is not above the last one of its pool.
local function are_outdated(funds)
    for _, fund in ipairs(funds) do
        if fund.is_outdated then
            return true
        end
    end
    return false
end

local function add_figures(out, fund)
    local at, pool = #out, fund and fund.pool
    out[at + 1] = fund and fund.bounds or BY_NOTHING
    out[at + 2], out[at + 3], out[at + 4] = pool and pool.posted or 0, pool and pool.ceiling or 0, pool and fund.bound or 0
end

local function add_use(out, use, now)
    local at = #out
    out[at + 1], out[at + 2] = use and use.opened[#use.opened] or 0, use and use.till or 0
    out[at + 3], out[at + 4] = use and use.acknowledged or 0, use and math.max(0, use.till - now) or 0
end

-- Opens the funds that the question carries figures of. Returns them, and those of the account's.
local function funds_open(account_fund, told, link_fund, terms, instance, need, expires, now)
    local funds = {}
    if account_fund and told then
        fund_open(account_fund, instance, told, need, expires, now)
        funds[1] = account_fund
    end
    if link_fund and terms.told then
        fund_open(link_fund, instance, terms.told, need, expires, now)
        funds[#funds + 1] = link_fund
    end
    return funds
end

-- Takes GRANT_KEYS, and ADMIT or TERMS. Returns {admission, revision, rate, max_conns, nodes that share
-- these two, revoked_before, ms until which links of the account may be revoked, bounds, posted,
-- ceiling, bound} of the account; and of a link with terms {opened, till, acknowledged, ms left of the
-- use, bounds, posted, ceiling, bound}. `bounds` says what bounds the fund; the figures behind it are 0
-- where the question told none of that fund. OUTDATED: a later question of the node, or a later process
-- of the instance, was there before, the number of whose lease stands in place of the revision. FILLING: parts of the
-- account are missing; nothing was taken. Unless `takes`, nothing is written, and the answer says what would be.
local function judge(keys, args, takes)
    arity(keys, args, GRANT_KEYS_COUNT, ADMIT_COUNT, TERMS_COUNT)
    local instance, lease = instance_of(args, ADMIT.instance), integer(args, ADMIT.lease, 'lease', 1)
    local validity = integer(args, ADMIT.validity_ms, 'validity', 1, 86400000)
    local iat, need = integer(args, ADMIT.iat, 'iat', 0), integer(args, ADMIT.need, 'need', 0)
    local told, terms = account_told(args, lease), terms_of(args, lease)
    local link_key = keys[GRANT_KEYS.link]
    local account = account_of(keys[GRANT_KEYS.account], instance)
    if account.lease > lease then
        return {OUTDATED, account.lease, 0, 0, 1, 0, 0, 0, 0, 0, 0}
    end
    if account.filling and is_filling(account.filling) then
        return {FILLING, account.revision, 0, 0, 1, 0, 0, 0, 0, 0, 0}
    end
    local fund = account_fund(keys, account)
    local now = (terms or fund and told or account.revoked_until > 0) and now_ms() or 0
    local link = terms and redis.call('HMGET', link_key, 'revoked', 'bytes', 'p:' .. terms.path) or
        -- Only while some link of the account may be revoked: a command less for each renewal.
        {account.revoked_until > 0 and account.revoked_until >= now and redis.call('HGET', link_key, 'revoked')}
    local admission = refusal_of(account, link[1], iat)
    if admission == UNKNOWN then
        return {UNKNOWN, account.revision, 0, 0, 1, 0, 0, 0, 0, 0, 0}
    end
    local use
    if admission == GRANTED and terms then
        admission, use = use_admit(use_of(link[3]), terms, now)
    end
    local expires = bounded(now + 2 * validity, 'the expiry')
    local funds = funds_open(fund, told, terms and link_fund_of(keys, terms, link), terms, instance, need, expires, now)
    if are_outdated(funds) then
        return {OUTDATED, lease, 0, 0, 1, 0, 0, 0, 0, 0, 0}
    end
    local is_held = admission == GRANTED and raise_all(funds)
    -- A question that carries the account's funds raises its pool itself.
    local stands = account.lease < lease and not (fund and told) and pool_get(keys[GRANT_KEYS.grants], instance)
    -- from here on only writes
    for _, one in ipairs(takes and funds or {}) do
        pool_write(one.key, instance, one.pool)
    end
    if takes and account.lease < lease then
        redis.call('HSET', keys[GRANT_KEYS.account], 'l:' .. instance, text(lease))
    end
    if takes and stands then
        pool_raise(keys[GRANT_KEYS.grants], instance, stands, lease)
    end
    if takes and use then
        redis.call('HSET', link_key, 'p:' .. terms.path, use_text(use))
    end
    if takes and terms then
        keep_until(link_key, terms.keep)
        keep_until(keys[GRANT_KEYS.link_grants], terms.keep)
    end
    if takes and is_held then
        recall(keys[GRANT_KEYS.account], now)
    end
    local out = {admission, account.revision, account.rate, account.max_conns, fund and fund.holders or 1,
        account.revoked_before, math.max(0, account.revoked_until - now)}
    add_figures(out, fund)
    if terms then
        add_use(out, use, now)
        add_figures(out, terms.fund)
    end
    return out
end
