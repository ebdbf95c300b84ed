local SUMS_OF_MONEY = {'ended'}
for slot = 0, TRANSACTION_KEYS_COUNT - 1 do
    SUMS_OF_MONEY[slot + 2] = 't:' .. slot
end

-- Reads what a post needs of the account, and behind that the fields `more`, which the second result has from
-- POST_FIELDS + 1 on.
local POST_FIELDS = 15
local function account_to_post(key, instance, more)
    local f = redis.call('HMGET', key, 'w:' .. instance, 'plan', 'status', 'opened', 'balance', 'used', 'status_at',
        'revision', 'conflicts', 'limits_at', 'revoked_before', 'revoked_until', 'l:' .. instance, 'operations',
        'filling', unpack(more))
    return {watermark = stored(f[1], 'watermark'), plan = f[2], status = f[3], opened = rank_of(f[4], 'opened'),
        balance = stored(f[5], 'balance'), used = stored(f[6], 'used'), status_at = rank_of(f[7], 'status_at'),
        revision = stored(f[8], 'revision'), conflicts = stored(f[9], 'conflicts'),
        limits_at = rank_of(f[10], 'limits_at'), revoked_before = stored(f[11], 'revoked_before'),
        revoked_until = stored(f[12], 'revoked_until'), lease = stored(f[13], 'lease'),
        operations = stored(f[14], 'operations'), filling = f[15]}, f
end

-- Takes POST_KEYS and those of its kind, and the links that args name; and POST with what its kind
-- takes. Returns {0 posted or 1 refused for its sequence, watermark, balance, prepaid}; or {2, number,
-- 0, 0}: refused, since a process of the instance with a lease of this higher number has asked or posted; or
-- {3, segment, part, 0}: since parts of the checkpoint of this segment were taken, up to this one.
local function post(keys, args)
    if #keys < POST_USAGE_KEYS_COUNT or #args < POST_USAGE_COUNT + FILE_COUNT then
        refuse('wrong number of keys or arguments')
    end
    local instance, lease = instance_of(args, POST.instance), integer(args, POST.lease, 'lease', 1)
    local from, to = integer(args, POST.from, 'from', 1), integer(args, POST.to, 'to', 1)
    if to < from then
        refuse('to is less than from')
    end
    local sums, month, day_till, month_till = SUMS_OF_MONEY, nil, nil, nil
    if args[POST.kind] == 'usage' then
        month, day_till, month_till = date_of(args, POST_USAGE.date)
        sums = {'m:' .. month}
    elseif args[POST.kind] ~= 'money' or from ~= to then
        refuse('kind is neither usage nor one money record')
    end
    local account, f = account_to_post(keys[POST_KEYS.account], instance, sums)
    if account.lease > lease then
        return {2, account.lease, 0, 0}
    end
    local begun = account.filling and filling_of(account.filling, instance)
    if begun then -- the parts of a checkpoint that were taken hold some of its records
        return {3, begun.segment, begun.part, 0}
    elseif account.watermark + 1 ~= from then
        return {1, account.watermark, 0, 0}
    end
    local balance, prepaid, pool, is_stored = account.balance, false, nil, false
    if account.lease < lease then
        pool, is_stored = pool_get(keys[POST_KEYS.grants], instance)
    end
    if month then
        account.month = {field = sums[1], value = f[POST_FIELDS + 1], day_till = day_till, till = month_till}
        balance, prepaid = post_usage(keys, args, account, lease, to)
    else
        account.ended = stored(f[POST_FIELDS + 1], 'ended')
        account.slots = {unpack(f, POST_FIELDS + 2, POST_FIELDS + 1 + TRANSACTION_KEYS_COUNT)}
        post_money(keys, args, account, to)
    end
    if account.lease < lease then
        redis.call('HSET', keys[POST_KEYS.account], 'l:' .. instance, text(lease))
        if month or is_stored then
            pool_raise(keys[POST_KEYS.grants], instance, pool, lease)
        end
    end
    return {0, to, balance, prepaid and 1 or 0}
end
