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
local function deliver(delivered, instance, lease)
    local values = redis.call('HMGET', delivered.key, delivered.field, 'bytes')
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
        -- In a replay: it was opened again, and this node has posted of it last. Journals round up to seconds.
        if delivered.till >= use.till + 1000 then
            use.till = delivered.till
        end
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
    -- Also where the link has no max_bytes: a replay does not know, and the node's figures go on from here.
    redis.call('HINCRBY', delivered.grants, 'p:' .. instance, text(delivered.bytes))
    pool_raise(delivered.grants, instance, pool_get(delivered.grants, instance), lease)
    keep_until(delivered.key, delivered.keep)
    keep_until(delivered.grants, delivered.keep)
end

-- Adds to a number by one command, which reads and writes. Returns nil, or the error; nothing was added
-- then.
local function add_alone(add)
    local total = redis.pcall('HINCRBY', add.key, add.field, text(add.bytes))
    if type(total) == 'table' then
        local is_damage = string.match(total.err, 'not an integer') or string.match(total.err, 'overflow')
        return is_damage and {err = 'DAMAGED tollgate: stored ' .. add.field .. ' is not an integer'} or total
    end
    add.total = total
    if total > (add.most or MAX) then
        local passed = add.damage or add.field .. ' would pass 2^53 - 1'
        return {err = 'DAMAGED tollgate: ' .. passed}
    end
    return nil
end

-- Adds to numbers of usage, in the first writes of their post: where one cannot be added to, nothing is
-- written.
local function add_all(adds)
    local wrong
    for i = 1, #adds do
        wrong = wrong or add_alone(adds[i])
    end
    for i = 1, wrong and #adds or 0 do
        local add = adds[i]
        if add.total and add.total == add.bytes then
            redis.call('HDEL', add.key, add.field)
        elseif add.total then
            redis.call('HINCRBY', add.key, add.field, text(-add.bytes))
        end
    end
    if wrong then
        error(wrong)
    end
end

-- Finds the fields and values to be written of a day or a month, which may be known to be empty; none where one field alone moves, as in
-- most posts: add_all does it then.
local function find_totals(of, fields, added)
    local totals, known, set = {}, {}, {}
    of.is_new, of.set = true, set
    if not of.is_empty then
        add_values(of.key, fields, known)
    end
    for i, field in ipairs(fields) do
        of.is_new = of.is_new and not known[field]
        totals[field] = bounded((totals[field] or stored(known[field], field)) + added[i], field)
    end
    for field, total in pairs(totals) do
        -- A file with responses gets its bytes, too, even 0: usage is listed by its bytes.
        if total > 0 or totals['r:' .. string.sub(field, 3)] > 0 then
            set[#set + 1], set[#set + 2] = field, text(total)
        end
    end
end

-- Writes what find_totals has found. What is new there may be the key itself, which then gets its end; one
-- whose end has passed, as of an old journal, is gone with that.
local function write_totals(of)
    if of.set and #of.set > 0 then
        redis.call('HSET', of.key, unpack(of.set))
    end
    if of.is_new then
        redis.call('PEXPIREAT', of.key, text(of.till))
    end
end

-- The arguments of FILE behind those of POST_USAGE, once per file and use.
local function post_usage(keys, args, account, lease, to)
    if (#args - POST_USAGE_COUNT) % FILE_COUNT ~= 0 or #args < POST_USAGE_COUNT + FILE_COUNT then
        refuse('files: file, bytes, responses, terms expected')
    end
    local account_key, grants, of_month = keys[POST_KEYS.account], keys[POST_KEYS.grants], account.month
    local day = {key = keys[POST_USAGE_KEYS.day], till = of_month.day_till}
    local month = {key = keys[POST_USAGE_KEYS.month], till = of_month.till}
    local instance = args[POST.instance]
    local fields, added, sum, answered, links = {}, {}, 0, 0, {}
    if not day.till then
        refuse('date is malformed')
    end
    for behind = POST_USAGE_COUNT, #args - 1, FILE_COUNT do
        local file, terms = args[behind + FILE.file], args[behind + FILE.terms]
        local bytes = integer(args, behind + FILE.bytes, 'bytes', 0)
        local responses = integer(args, behind + FILE.responses, 'responses', 0)
        if file == '' then
            refuse('file is empty')
        end
        sum, answered = bounded(sum + bytes, 'bytes'), bounded(answered + responses, 'responses')
        fields[#fields + 1], added[#added + 1] = 'b:' .. file, bytes
        fields[#fields + 1], added[#added + 1] = 'r:' .. file, responses
        if terms ~= '' then
            local delivered = delivered_of(keys, terms, file, bytes)
            local known = redis.call('HMGET', delivered.key, delivered.field, 'bytes')
            use_of(known[1])
            stored(known[2], 'bytes')
            bounded(pool_get(delivered.grants, instance).posted + bytes, 'posted')
            links[#links + 1] = delivered
        end
    end
    local is_alone = #fields == 2 and added[1] > 0 and added[2] == 0
    if not is_alone then
        find_totals(day, fields, added)
        find_totals(month, fields, added)
    end
    local month_bytes, month_responses = month_of(of_month.value)
    local total = text(bounded(month_bytes + sum, 'a month')) .. ' ' ..
        text(bounded(month_responses + answered, 'a month'))
    local balance, used = account.balance, bounded(account.used + sum, 'used')
    if account.plan ~= 'postpaid' then
        balance = bounded(balance - sum, 'balance')
    end
    -- or a replay would count the months and the pools twice
    local adds = {{key = grants, field = 'p:' .. instance, bytes = sum, most = used,
        damage = 'the account is gone, and its pools are not'}}
    if is_alone then
        adds[2] = {key = day.key, field = fields[1], bytes = sum}
        adds[3] = {key = month.key, field = fields[1], bytes = sum}
    end
    -- from here on only writes
    add_all(adds)
    if is_alone then
        day.is_new, month.is_new = adds[2].total == sum, adds[3].total == sum
    end
    write_totals(day)
    write_totals(month)
    for _, delivered in ipairs(links) do
        deliver(delivered, instance, lease)
    end
    redis.call('HSET', account_key, 'balance', text(balance), 'used', text(used), of_month.field, total,
        'w:' .. instance, text(to))
    return balance, account.plan == 'prepaid'
end
