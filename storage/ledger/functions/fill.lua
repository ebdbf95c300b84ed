-- ---- fill: an account's checkpoint, in parts, where the instance has posted nothing of it
-- A part has some rows of what the instance's first `sequence` records come to: usage by day and file, by
-- month and file, and by month alone; uses of links; operations, in this order. Each part is taken once,
-- in order, and changes what posts of its records would have changed. The last one sets the watermark.

local fill
do
    local function add_file(date, file, bytes, responses)
        local fields, added = date.fields, date.added
        fields[#fields + 1], added[#added + 1] = 'b:' .. file, bytes
        fields[#fields + 1], added[#added + 1] = 'r:' .. file, responses
    end

    -- The part's dates, whose keys stand in the same order, its months, and the fields of these. A day's month
    -- is one of the dates, too.
    local function dates_of(keys, args, behind, count)
        local dates, months, fields = {}, {}, {}
        for i = 1, count do
            local month, day_till, month_till = date_of(args, behind + i)
            local date = {key = keys[POST_MONEY_KEYS_COUNT + i], till = day_till or month_till, is_day = day_till ~= nil,
                month = months[month], fields = {}, added = {}}
            if not date.month then
                date.month = {field = 'm:' .. month, bytes = 0, responses = 0}
                months[month], fields[#fields + 1] = date.month, date.month.field
            end
            if not date.is_day then
                date.month.date = date
            end
            dates[i] = date
        end
        return dates, fields
    end

    -- Adds the rows of usage to their dates. Returns their bytes.
    local function usage_of(args, dates, behind, count)
        local sum = 0
        for _ = 1, count do
            local date, file = dates[integer(args, behind + ROW.date, 'date', 1, #dates)], args[behind + ROW.file]
            local bytes = integer(args, behind + ROW.bytes, 'bytes', 0)
            local responses = integer(args, behind + ROW.responses, 'responses', 0)
            local month = date.month
            if date.is_day and (file == '' or not month.date) then
                refuse('usage of a day: a file and its month expected')
            end
            if file ~= '' then
                add_file(date, file, bytes, responses)
            end
            if date.is_day then
                add_file(month.date, file, bytes, responses)
            end
            month.is_met, sum = true, bounded(sum + bytes, 'bytes')
            month.bytes, month.responses = month.bytes + bytes, bounded(month.responses + responses, 'responses')
            behind = behind + ROW_COUNT
        end
        return sum
    end

    local function uses_of(keys, args, instance, behind, count)
        local uses = {}
        for i = 1, count do
            local file, bytes = args[behind + USE.file], integer(args, behind + USE.bytes, 'bytes', 0)
            local delivered = delivered_of(keys, args[behind + USE.terms], file, bytes)
            local known = redis.call('HMGET', delivered.key, delivered.field, 'bytes')
            use_of(known[1])
            stored(known[2], 'bytes')
            bounded(pool_get(delivered.grants, instance).posted + bytes, 'posted')
            uses[i] = delivered
            behind = behind + USE_COUNT
        end
        return uses
    end

    -- The part's operations, in order, and what the ring has of their transactions: id -> text and slot; of a
    -- new account nothing.
    local function operations_of(keys, args, is_new, behind, count)
        local operations, ids, known = {}, {}, {}
        for i = 1, count do
            local at = {}
            for name, index in pairs(FILL_MONEY) do
                at[name] = behind + index
            end
            local of = operation_at(args, at)
            if of.operation == 'revoke_link' then
                of.link = keys[integer(args, at.link, 'link', POST_MONEY_KEYS_COUNT + 1, #keys)]
                stored(redis.call('HGET', of.link, 'revoked'), 'revoked')
            end
            if of.transaction ~= '' then
                ids[#ids + 1] = of.transaction
            end
            operations[i] = of
            behind = behind + FILL_MONEY_COUNT
        end
        for slot = 1, #ids > 0 and not is_new and TRANSACTION_KEYS_COUNT or 0 do
            local values = {}
            add_values(keys[POST_MONEY_KEYS.transactions_0 + slot - 1], ids, values)
            for _, id in ipairs(ids) do
                known[id] = known[id] or values[id] and {value = values[id], slot = slot}
            end
        end
        return operations, known
    end

    -- Takes what an operation sets into the account, for the next one, and into what is to be written.
    local function apply(account, of, set, all)
        for field, value in pairs(set) do
            local slot = string.match(field, '^t:(%d)$')
            all[field] = value
            if slot then
                account.slots[tonumber(slot) + 1] = value
            elseif field == 'opened' or field == 'status_at' or field == 'limits_at' then
                account[field] = of.rank
            else
                account[field] = value
            end
        end
    end

    -- Computes the operations one after the other. Returns the transactions to be written, in the order in
    -- which they were met and by their ids: text, slot, end, and where it stood.
    local function order_all(account, operations, known, instance, all)
        local now, transactions = now_ms(), {}
        for _, of in ipairs(operations) do
            local stands = known[of.transaction] or {}
            local set, counted, slot, till = operation_fields(account, of, stands.value, stands.slot, now, instance)
            if of.operation == 'adjust' and account.holds then
                account.holds = holds_beside(account.holds, of.transaction, now)
            end
            apply(account, of, set, all)
            if counted then
                local before = transactions[of.transaction]
                local one = before or {id = of.transaction, stood = stands.slot}
                one.value, one.slot, one.till = counted, slot, till
                if not before then
                    transactions[of.transaction], transactions[#transactions + 1] = one, one
                end
                known[of.transaction] = {value = counted, slot = slot}
            end
        end
        return transactions
    end

    local function write_transactions(keys, is_new, transactions)
        local first, words, ends = POST_MONEY_KEYS.transactions_0 - 1, {}, {}
        for _, of in ipairs(transactions) do
            local here = words[of.slot] or {}
            if of.stood and of.stood ~= of.slot then
                redis.call('HDEL', keys[first + of.stood], of.id)
            end
            here[#here + 1], here[#here + 2] = of.id, of.value
            words[of.slot], ends[of.slot] = here, math.max(ends[of.slot] or 0, of.till)
        end
        for slot = 1, TRANSACTION_KEYS_COUNT do
            if words[slot] then
                redis.call('HSET', keys[first + slot], unpack(words[slot]))
            end
            if words[slot] and is_new then
                redis.call('PEXPIREAT', keys[first + slot], text(ends[slot]))
            elseif words[slot] then
                last_until(keys[first + slot], ends[slot])
            end
        end
    end

    local function write_operations(keys, account, operations, transactions)
        for _, of in ipairs(operations) do
            if of.operation == 'revoke_link' then
                revoke_link(of.link, of)
            elseif of.operation == 'open' and account.opening then
                redis.call('HDEL', keys[POST_KEYS.account], 'opening')
            end
        end
        write_transactions(keys, account.is_new, transactions)
        if account.holds then
            holds_write(keys[POST_KEYS.account], account.holds)
        end
    end

    -- What usage comes to: sums of the account and its months, with those that Redis has already. A month
    -- without a sum has no usage of days and files, either.
    local function count_usage(account, posted, dates, sum, all)
        for _, date in ipairs(dates) do
            local month = date.month
            if #date.fields > 0 then
                date.is_empty = not account.months[month.field]
                find_totals(date, date.fields, date.added)
            end
            if month.is_met and not all[month.field] then
                local bytes, responses = month_of(account.months[month.field])
                all[month.field] = text(bounded(bytes + month.bytes, 'a month')) .. ' ' ..
                    text(bounded(responses + month.responses, 'a month'))
            end
        end
        account.used = bounded(account.used + sum, 'used')
        if account.plan ~= 'postpaid' then
            account.balance = bounded(account.balance - sum, 'balance')
        end
        if posted + sum > account.used then -- or it would be counted twice
            refuse_stored('the account is gone, and its pools are not')
        end
        all.used, all.balance = account.used, account.balance
    end

    local function read_account(key, instance, months)
        local account, f = account_to_post(key, instance,
            {'holds', 'opening', 'ended', 't:0', 't:1', 't:2', 't:3', 't:4', unpack(months)})
        local behind = POST_FIELDS + 3 + TRANSACTION_KEYS_COUNT
        account.holds, account.opening, account.ended = f[POST_FIELDS + 1], f[POST_FIELDS + 2],
            stored(f[POST_FIELDS + 3], 'ended')
        account.slots, account.months = {unpack(f, POST_FIELDS + 4, behind)}, {}
        account.is_new = not f[5] and not f[14] -- balance and operations: nothing was posted or ordered
        for i, field in ipairs(months) do
            account.months[field] = f[behind + i]
        end
        return account
    end

    local function part_of(args)
        return {
            instance = instance_of(args, FILL.instance), lease = integer(args, FILL.lease, 'lease', 1),
            segment = integer(args, FILL.segment, 'segment', 1), sequence = integer(args, FILL.sequence, 'sequence', 1),
            number = integer(args, FILL.part, 'part', 1), is_last = integer(args, FILL.is_last, 'is_last', 0, 1) == 1,
            wait = integer(args, FILL.wait_ms, 'wait', 0, 86400000), controls = integer(args, FILL.controls, 'controls', 0),
            highest = integer(args, FILL.number, 'number', 0), dates = integer(args, FILL.dates, 'dates', 0),
            links = integer(args, FILL.links, 'links', 0), usages = integer(args, FILL.usages, 'usages', 0),
            uses = integer(args, FILL.uses, 'uses', 0), operations = integer(args, FILL.operations, 'operations', 0)
        }
    end

    -- Whether the part is the next one. Returns what to answer where it is not, and what stands of the instance.
    local function answer_early(account, part)
        local own, others = filling_of(account.filling, part.instance)
        local stands = own and own.part or 0
        if account.lease > part.lease then
            return {2, account.lease, 0, 0}
        elseif account.watermark > 0 then
            return {account.watermark >= part.sequence and 0 or 1, account.watermark, part.number, 0}
        elseif own and (own.segment ~= part.segment or own.sequence ~= part.sequence) then
            return {3, own.segment, stands, 0}
        elseif part.number > stands + 1 then
            return {1, 0, stands, 0}
        elseif part.number <= stands then
            return {0, 0, stands, 0}
        end
        return nil, own, others
    end

    -- Notes that the part was taken, and with the last one that all of it is there.
    local function note(key, account, part, own, others, all)
        if part.is_last and part.controls > 0 then
            all.revision = account.revision + part.controls
        end
        if part.is_last and (part.controls > 0 or part.operations > 0) then
            all.operations = math.max(account.operations, part.highest)
        end
        if part.is_last then
            all['w:' .. part.instance] = part.sequence
        else
            local till = own and own.till or now_ms() + part.wait
            others = others .. part.instance .. ' ' .. text(part.segment) .. ' ' .. text(part.sequence) .. ' ' ..
                text(part.number) .. ' ' .. text(till) .. ';'
        end
        if others ~= '' then
            all.filling = others
        elseif account.filling then
            redis.call('HDEL', key, 'filling')
        end
        if account.lease < part.lease then
            all['l:' .. part.instance] = part.lease
        end
        local fields, words = {}, {}
        for field in pairs(all) do
            fields[#fields + 1] = field
        end
        table.sort(fields) -- or two servers would keep them in another order
        for i, field in ipairs(fields) do
            local value = all[field]
            words[2 * i - 1], words[2 * i] = field, type(value) == 'number' and text(value) or value
        end
        redis.call('HSET', key, unpack(words))
    end

    -- Takes POST_MONEY_KEYS, a key for each date, and for each link its key and that of its grants; and FILL,
    -- the dates, and the rows: ROW, USE, FILL_MONEY. Returns {0 taken or 1 refused, as another part is due,
    -- watermark, the last part that was taken, 0}; or {2, number, 0, 0} and {3, segment, part, 0} as a post.
    fill = function(keys, args)
        if #args < FILL_COUNT then
            refuse('arguments: wrong number')
        end
        local part = part_of(args)
        local rows = FILL_COUNT + part.dates
        local uses_at = rows + part.usages * ROW_COUNT
        local money_at = uses_at + part.uses * USE_COUNT
        local count = money_at + part.operations * FILL_MONEY_COUNT
        arity(keys, args, POST_MONEY_KEYS_COUNT + part.dates + 2 * part.links, count, count)
        local key, grants, all = keys[POST_KEYS.account], keys[POST_KEYS.grants], {}
        local dates, months = dates_of(keys, args, FILL_COUNT, part.dates)
        local account = read_account(key, part.instance, months)
        local answer, own, others = answer_early(account, part)
        if answer then
            return answer
        end
        local pool, is_stored = pool_get(grants, part.instance)
        local sum = usage_of(args, dates, rows, part.usages)
        if part.usages > 0 then
            count_usage(account, pool.posted, dates, sum, all)
        end
        local balance = account.balance
        local uses = uses_of(keys, args, part.instance, uses_at, part.uses)
        local operations, known = operations_of(keys, args, account.is_new, money_at, part.operations)
        local transactions = order_all(account, operations, known, part.instance, all)
        -- from here on only writes
        if part.usages > 0 then
            redis.call('HINCRBY', grants, 'p:' .. part.instance, text(sum))
        end
        for _, date in ipairs(dates) do
            write_totals(date)
        end
        for _, delivered in ipairs(uses) do
            deliver(delivered, part.instance, part.lease)
        end
        write_operations(keys, account, operations, transactions)
        note(key, account, part, own, others, all)
        if account.lease < part.lease and (part.usages > 0 or is_stored) then
            pool_raise(grants, part.instance, pool, part.lease)
        end
        if all.revision then
            announce(key, text(all.revision))
        elseif account.balance < balance then
            announce(key, 'recall')
        end
        return {0, part.is_last and part.sequence or 0, part.number, 0}
    end
end
