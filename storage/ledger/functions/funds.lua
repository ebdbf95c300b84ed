-- ---- funds: what nodes have reserved of an account's balance, or of a link's max_bytes
-- Each fund has a hash with one field for each instance.

-- The grants of other instances whose validity is long over: their nodes are dead or cut off.
local function expired_grants(key, own, now)
    local fields, sum = {}, 0
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
        if all[i] ~= own then
            local grant = grant_of(all[i + 1])
            if grant.expires < now then
                fields[#fields + 1] = all[i]
                sum = sum + grant.reserved
            end
        end
    end
    return fields, sum
end

-- Computes what the fund can still give to this instance; writes nothing.
local function fund_open(fund, instance, lease, need, now)
    fund.instance = instance
    fund.dropped = {}
    local grant = grant_of(redis.call('HGET', fund.key, instance))
    if grant and grant.lease ~= lease then
        -- Everything that the process before had delivered was posted before this one began to
        -- serve.
        fund.reserved = fund.reserved - grant.reserved
        grant = nil
    end
    fund.grant = grant or {lease = lease, reserved = 0}
    if fund.total - fund.reserved < need then
        local sum
        fund.dropped, sum = expired_grants(fund.key, instance, now)
        fund.reserved = fund.reserved - sum
    end
    fund.reserved = math.max(fund.reserved, fund.grant.reserved)
    fund.available = fund.total - fund.reserved
end

local function fund_check(fund, granted, expires)
    fund.grant.reserved = bounded(fund.grant.reserved + granted, 'the grant')
    fund.grant.expires = expires
    fund.reserved = bounded(fund.reserved + granted, 'reserved')
end

local function fund_write(fund)
    for _, field in ipairs(fund.dropped) do
        redis.call('HDEL', fund.key, field)
    end
    redis.call('HSET', fund.key, fund.instance, grant_text(fund.grant))
    redis.call('HSET', fund.totals, 'reserved', text(fund.reserved))
end

-- Takes up to `bytes` off the instance's grant, of the process with this lease or, unless `own`, of
-- one before it; returns the bytes taken, and the grant. Writes nothing.
local function lowered(key, instance, lease, own, bytes)
    local grant = grant_of(redis.call('HGET', key, instance))
    if not grant or own and grant.lease ~= lease or not own and grant.lease >= lease then
        return 0, nil
    end
    local taken = math.min(bytes, grant.reserved)
    grant.reserved = grant.reserved - taken
    return taken, grant
end

local function lowered_write(key, instance, totals, taken, grant, reserved)
    if taken > 0 then
        redis.call('HSET', key, instance, grant_text(grant))
        redis.call('HSET', totals, 'reserved', text(math.max(0, reserved - taken)))
    end
end
