-- Parses what arrived in one use of a link with terms: "key opened until keep taken", times in
-- ms. `key` is an index of `keys`; the key of the link's grants stands behind the link's own.
local function delivered_of(keys, terms, file, bytes)
    local index, opened, till, keep, taken = string.match(terms, '^(%d+) (%d+) (%d+) (%d+) ([01])$')
    index = number_of(index) or 0
    local delivered = {key = keys[index], grants = keys[index + 1], opened = number_of(opened), till = number_of(till),
        keep = number_of(keep), field = 'p:' .. file, bytes = bytes, taken = taken == '1'}
    if not delivered.grants or not delivered.opened or not delivered.till or not delivered.keep then
        refuse('terms are malformed')
    end
    return delivered
end

-- Stores what arrived in one use. It reads what earlier calls wrote, for one post may have
-- several uses of a link. Everything that can be refused was validated before.
local function deliver(delivered, instance, lease, own)
    local values = redis.call('HMGET', delivered.key, delivered.field, 'bytes', 'reserved')
    local use = use_of(values[1]) or {till = 0, acknowledged = 0, opened = {}}
    local arrived = delivered.taken and math.max(1, delivered.bytes) or delivered.bytes
    local last = use.opened[#use.opened] or 0
    if delivered.opened > last and arrived > 0 then
        -- Redis does not know the use: another took its place while nothing had arrived in it,
        -- or this is a replay.
        if use.acknowledged == 0 then
            table.remove(use.opened)
        end
        use.opened[#use.opened + 1] = delivered.opened
        use.till, use.acknowledged = delivered.till, arrived
    elseif delivered.opened == last then
        use.acknowledged = math.min(MAX, use.acknowledged + arrived)
    elseif arrived > 0 then
        local at = 1
        while use.opened[at] < delivered.opened do
            at = at + 1
        end
        if use.opened[at] ~= delivered.opened then
            table.insert(use.opened, at, delivered.opened)
        end
    end
    if #use.opened > 0 and delivered.opened > 0 then
        redis.call('HSET', delivered.key, delivered.field, use_text(use))
    end
    redis.call('HSET', delivered.key, 'bytes', text(math.min(MAX, stored(values[2], 'bytes') + delivered.bytes)))
    local taken, grant = lowered(delivered.grants, instance, lease, own, delivered.bytes)
    lowered_write(delivered.grants, instance, delivered.key, taken, grant, stored(values[3], 'reserved'))
    keep_until(delivered.key, delivered.keep)
    keep_until(delivered.grants, delivered.keep)
end

-- The arguments of FILE behind those of POST, once per file and use.
local function post_usage(keys, args, account, lease, to)
    if (#args - POST_COUNT) % FILE_COUNT ~= 0 or #args < POST_COUNT + FILE_COUNT then
        refuse('files: file, bytes, responses, terms expected')
    end
    local account_key, entries = keys[POST_KEYS.account], keys[POST_KEYS.entries]
    local grants = keys[POST_KEYS.grants]
    local instance, own = args[POST.instance], args[POST.own] == '1'
    local fields, added, sum, links = {}, {}, 0, {}
    for behind = POST_COUNT, #args - 1, FILE_COUNT do
        local file, terms = args[behind + FILE.file], args[behind + FILE.terms]
        local bytes = integer(args, behind + FILE.bytes, 'bytes', 0)
        local responses = integer(args, behind + FILE.responses, 'responses', 0)
        if file == '' then
            refuse('file is empty')
        end
        sum = bounded(sum + bytes, 'bytes')
        fields[#fields + 1], added[#added + 1] = 'b:' .. file, bytes
        fields[#fields + 1], added[#added + 1] = 'r:' .. file, responses
        if terms ~= '' then
            local delivered = delivered_of(keys, terms, file, bytes)
            local known = redis.call('HMGET', delivered.key, delivered.field, 'bytes', 'reserved')
            use_of(known[1])
            stored(known[2], 'bytes')
            stored(known[3], 'reserved')
            grant_of(redis.call('HGET', delivered.grants, instance))
            links[#links + 1] = delivered
        end
    end
    local totals = {}
    for i, field in ipairs(fields) do
        local total = totals[field] or stored(redis.call('HGET', entries, field), field)
        totals[field] = bounded(total + added[i], field)
    end
    local balance, used, reserved = account.balance, bounded(account.used + sum, 'used'), account.reserved
    if account.plan ~= 'postpaid' then
        balance = bounded(balance - sum, 'balance')
    end
    local taken, grant = lowered(grants, instance, lease, own, sum)
    -- from here on only writes
    for field, total in pairs(totals) do
        -- A file with responses gets its bytes, too, even 0: usage is listed by its bytes.
        if total > 0 or totals['r:' .. string.sub(field, 3)] > 0 then
            redis.call('HSET', entries, field, text(total))
        end
    end
    for _, delivered in ipairs(links) do
        deliver(delivered, instance, lease, own)
    end
    lowered_write(grants, instance, account_key, taken, grant, reserved)
    redis.call('HSET', account_key, 'balance', text(balance), 'used', text(used),
        'w:' .. instance, text(to))
    return balance, account.plan == 'prepaid'
end
