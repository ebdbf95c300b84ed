-- Takes USAGE_KEYS and USAGE; the first cursor is '0'. Returns {cursor ('0':
-- no more), file, bytes, responses, file, ...}: a step of HSCAN, whose promises hold for each file.
-- The step is short, for Redis does nothing else meanwhile. Of a day that has ended it returns {'ended'}; of a
-- month whose files have ended their totals, as those of a file without a name, if there are any.
local function usage(keys, args)
    arity(keys, args, USAGE_KEYS_COUNT, USAGE_COUNT, USAGE_COUNT)
    local key = keys[USAGE_KEYS.entries]
    local month, day_till, month_till = date_of(args, USAGE.date)
    if (day_till or month_till) <= now_ms() then
        local total = not day_till and redis.call('HGET', keys[USAGE_KEYS.account], 'm:' .. month)
        local bytes, responses = month_of(total)
        return day_till and {'ended'} or total and {'0', '', text(bytes), text(responses)} or {'0'}
    end
    local cursor = match(args, USAGE.cursor, 'cursor', '^%d+$', 20)
    local scan = redis.call('HSCAN', key, cursor, 'COUNT', text(integer(args, USAGE.step, 'count', 1, 1000)))
    local fields, values, missing, out = scan[2], {}, {}, {scan[1]}
    for i = 1, #fields, 2 do
        values[fields[i]] = fields[i + 1]
    end
    for i = 1, #fields, 2 do
        local kind, file = string.sub(fields[i], 1, 2), string.sub(fields[i], 3)
        if file == '' or kind ~= 'b:' and kind ~= 'r:' then
            refuse_stored('a stored field of usage is malformed')
        end
        local other = (kind == 'b:' and 'r:' or 'b:') .. file
        if not values[other] then
            missing[#missing + 1] = other
        end
    end
    add_values(key, missing, values)
    for i = 1, #fields, 2 do
        local file = string.sub(fields[i], 3)
        local bytes = values['b:' .. file]
        -- A file is listed by its bytes, or by its responses where an earlier version stored only
        -- these.
        if not bytes or string.sub(fields[i], 1, 2) == 'b:' then
            local at = #out
            out[at + 1], out[at + 2], out[at + 3] = file, bytes or '0', values['r:' .. file] or '0'
        end
    end
    return out
end

-- Takes TRANSACTION_KEYS and TRANSACTION. Returns what is stored of the transaction, nil where nothing is.
local function transaction(keys, args)
    arity(keys, args, TRANSACTION_KEYS_COUNT, TRANSACTION_COUNT, TRANSACTION_COUNT)
    return transaction_find(keys, TRANSACTION_KEYS.transactions_0, args[TRANSACTION.transaction]) or false
end

-- Takes RESERVED_KEYS. Returns what all nodes have reserved of the fund.
local function reserved(keys, args)
    arity(keys, args, RESERVED_KEYS_COUNT, 0, 0)
    local _, ceilings = pools_of(keys[RESERVED_KEYS.pool], '', now_ms())
    return ceilings
end
