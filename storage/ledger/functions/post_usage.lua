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
    local pool = pool_get(delivered.grants, instance) or pool_new()
    redis.call('HSET', delivered.grants, instance, pool_posted(pool, lease, delivered.bytes))
    keep_until(delivered.key, delivered.keep)
    keep_until(delivered.grants, delivered.keep)
end

-- Adds to a number of usage by one command, which reads and writes. Returns the total; where nothing was
-- added, nil and the error.
local function add_alone(entries, field, bytes)
    local total = redis.pcall('HINCRBY', entries, field, text(bytes))
    if type(total) ~= 'table' and total <= MAX then
        return total
    end
    local damage = 'stored ' .. field .. ' is not an integer'
    if type(total) ~= 'table' then
        redis.call('HINCRBY', entries, field, text(-bytes))
        damage = field .. ' would pass 2^53 - 1'
    elseif not string.match(total.err, 'not an integer') and not string.match(total.err, 'overflow') then
        return nil, total
    end
    return nil, {err = 'DAMAGED tollgate: ' .. damage}
end

-- Adds the bytes of one file to the day and the month, in the first writes of their post: where one of
-- them fails, nothing is written.
local function add_one_file(day, month, field, bytes)
    local of_day, wrong = add_alone(day.key, field, bytes)
    if not of_day then
        error(wrong)
    end
    local of_month
    of_month, wrong = add_alone(month.key, field, bytes)
    if not of_month then
        if of_day == bytes then
            redis.call('HDEL', day.key, field)
        else
            redis.call('HINCRBY', day.key, field, text(-bytes))
        end
        error(wrong)
    end
    day.is_new, month.is_new = of_day == bytes, of_month == bytes
end

-- Finds the fields and values to be written of a day or a month; none where one field alone moves, as in
-- most posts: add_one_file does it then.
local function find_totals(of, fields, added)
    local totals, known, set = {}, {}, {}
    of.is_new, of.set = true, set
    add_values(of.key, fields, known)
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
            pool_get(delivered.grants, instance)
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
    local stands = pool_get(grants, instance) or pool_new()
    if stands.posted > account.used then -- or a replay would count the months and the pools twice
        refuse_stored('the account is gone, and its pools are not')
    end
    local pool = pool_posted(stands, lease, sum)
    -- from here on only writes
    if is_alone then
        add_one_file(day, month, fields[1], added[1])
    end
    write_totals(day)
    write_totals(month)
    for _, delivered in ipairs(links) do
        deliver(delivered, instance, lease)
    end
    redis.call('HSET', grants, instance, pool)
    redis.call('HSET', account_key, 'balance', text(balance), 'used', text(used), of_month.field, total,
        'w:' .. instance, text(to))
    return balance, account.plan == 'prepaid'
end
