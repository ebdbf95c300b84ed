-- ---- funds: what nodes hold of an account's balance or max_bytes, or of a link's max_bytes
-- Each fund has a hash with a pool for each instance: `p:INSTANCE`, the bytes that have come with its
-- posts, which a post adds to without reading the rest; and, once it has asked or told, INSTANCE: "lease
-- count ceiling least expires". All but the last are cumulative for the instance: `ceiling` is how many
-- bytes it may hand to clients, `least` how many it needs for what is under way. What is reserved is
-- never stored: it is the sum of max(0, ceiling - posted), so that posts and questions may overtake each
-- other. A ceiling that is not told again is void once `expires` has passed. `lease` and `count` number
-- the last question: one with a lower number changes nothing.

local function pool_of(value, posted)
    local lease, count, ceiling, least, expires = '0', '0', '0', '0', '0'
    if value then
        lease, count, ceiling, least, expires = string.match(value, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
    end
    local pool = {posted = number_of(posted or '0'), lease = number_of(lease), count = number_of(count),
        ceiling = number_of(ceiling), least = number_of(least), expires = number_of(expires)}
    if not (pool.posted and pool.posted >= 0 and pool.lease and pool.count and pool.ceiling and pool.least and pool.expires) then
        refuse_stored('stored pool is malformed')
    end
    return pool
end

local function pool_text(pool)
    return text(pool.lease) .. ' ' .. text(pool.count) .. ' ' .. text(pool.ceiling) .. ' ' .. text(pool.least) ..
        ' ' .. text(pool.expires)
end

-- The instance's pool; all of a new one is 0. Whether anything is stored of it.
local function pool_get(key, instance)
    local stands = redis.call('HMGET', key, instance, 'p:' .. instance)
    return pool_of(stands[1], stands[2]), stands[1] or stands[2]
end

local function pool_write(key, instance, pool)
    redis.call('HSET', key, instance, pool_text(pool))
end

-- Has a pool know of a process with this lease, after which an earlier one's questions change nothing.
local function pool_raise(key, instance, pool, lease)
    if lease > pool.lease then
        pool.lease, pool.count = lease, 0
        pool_write(key, instance, pool)
    end
end

-- The instance's pool, and what the others hold of the fund: the sums of what their ceilings and
-- their `least` have above what they posted, and how many hold anything.
local function pools_of(key, instance, now)
    local ceilings, leasts, holders, values = 0, 0, 0, {}
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
        values[all[i]] = all[i + 1]
    end
    for i = 1, #all, 2 do
        local of = all[i]
        if of ~= instance and string.sub(of, 1, 2) ~= 'p:' then
            local pool = pool_of(values[of], values['p:' .. of])
            if pool.expires > now then
                ceilings = ceilings + math.max(0, pool.ceiling - pool.posted)
                leasts = leasts + math.max(0, pool.least - pool.posted)
                holders = holders + (math.max(pool.ceiling, pool.least) > pool.posted and 1 or 0)
            end
        end
    end
    return pool_of(values[instance], values['p:' .. instance]), ceilings, leasts, holders
end

-- Whether a question of this number comes after the last one that the pool has seen.
local function is_later(pool, lease, count)
    return lease > pool.lease or lease == pool.lease and count > pool.count
end

-- Takes the figures of a node's pool. Where it is new to the node, which does not know yet what was
-- posted, the figures count from there.
local function pool_tell(pool, told, expires)
    local from = told.is_new and pool.posted or 0
    pool.lease, pool.count, pool.expires = told.lease, told.count, expires
    pool.ceiling = bounded(from + told.ceiling, 'the ceiling')
    pool.least = bounded(from + told.least, 'least')
    return from
end

-- Opens a fund of `total` bytes for a question: tells it, and computes how far the ceiling may be
-- raised. Writes nothing. `bound` is the highest ceiling that the node could ever have, if the others
-- gave back all that they do not need.
local function fund_open(fund, instance, told, need, expires, now)
    local pool, ceilings, leasts, others = pools_of(fund.key, instance, now)
    fund.pool, fund.instance, fund.holders = pool, instance, 1 + others
    fund.is_outdated = not is_later(pool, told.lease, told.count)
    if fund.is_outdated then
        return
    end
    local from = pool_tell(pool, told, expires)
    fund.bound = math.max(0, pool.posted + fund.total - leasts)
    fund.needed = pool.least + need
    local available = fund.total - ceilings - math.max(0, pool.ceiling - pool.posted)
    local is_within = fund.needed <= fund.bound and fund.needed <= pool.ceiling + math.max(0, available)
    -- What the asker cannot have, or not yet, is not raised for it, only what others want beside it. A part of
    -- its need would serve nobody here, and be missing at a node that waits for the other part.
    local want = bounded(from + told.want, 'want') - (is_within and 0 or need)
    local lacks = math.max(0, want - pool.ceiling)
    fund.raise = math.max(0, math.min(lacks, available))
    if fund.raise == lacks and fund.needed <= fund.bound then
        fund.raise = fund.raise + math.max(0, math.min(told.spare, math.floor((available - lacks) / 4)))
    end
    fund.is_met = pool.ceiling + fund.raise >= fund.needed
end

-- Takes TELL_KEYS and TELL: what a node holds of one fund, which raises nothing. Returns {0 told or 1
-- outdated, posted, ceiling}.
local function tell(keys, args)
    arity(keys, args, TELL_KEYS_COUNT, TELL_COUNT, TELL_COUNT)
    local key, instance = keys[TELL_KEYS.pool], instance_of(args, TELL.instance)
    local validity = integer(args, TELL.validity_ms, 'validity', 1, 86400000)
    local told = {lease = integer(args, TELL.lease, 'lease', 1), count = integer(args, TELL.count, 'count', 1),
        is_new = integer(args, TELL.is_new, 'is_new', 0, 1) == 1,
        ceiling = integer(args, TELL.ceiling, 'ceiling', 0), least = integer(args, TELL.least, 'least', 0)}
    local pool, is_stored = pool_get(key, instance)
    if not is_stored and told.ceiling == 0 and told.least == 0 then -- it never held anything
        return {0, 0, 0}
    end
    if not is_later(pool, told.lease, told.count) then
        return {1, pool.posted, pool.ceiling}
    end
    pool_tell(pool, told, bounded(now_ms() + 2 * validity, 'the expiry'))
    pool_write(key, instance, pool)
    return {0, pool.posted, pool.ceiling}
end
