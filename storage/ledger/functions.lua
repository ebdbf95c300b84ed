#!lua name=tollgate

-- What Redis does for the ledger: admission, posting and the node's lease. FCALL runs it for
-- workers (admit, judge, release), the poster (post, lease, lease_release) and admin calls (hold,
-- usage). Redis does not roll back, so each function checks everything, the stored values too,
-- before its first write.
--
--   tg:{issuer/account}:account       hash: status plan opened status_at balance used reserved
--                                     revision conflicts rate max_bytes max_conns limits_at
--                                     revoked_before holds, and a watermark w:INSTANCE of each node
--   tg:{issuer/account}:grants        hash: node -> "epoch reserved expires_ms"
--   tg:{issuer/account}:usage:DAY     hash: b:FILE bytes, r:FILE responses
--   tg:{issuer/account}:transactions  hash: id -> "operation amount plan"
--   tg:{issuer/account}:link:ID       hash: revoked bytes reserved, per path p:PATH (see use_of);
--                                     ID is 64 hexadecimal digits; expires some time after the link
--   tg:{issuer/account}:link:ID:grants  hash: node -> "epoch reserved expires_ms"
--   tg:node:{NAME}                    hash: instance epoch until records
--   tg:revocations                    channel: "issuer/account revision" whenever a revision moves
--
-- `balance` is the money moved less `used`, until the account is known to be postpaid; then it is
-- the money only. All changes commute between nodes, except two with the same time, so that several
-- journals may be replayed in any order into an empty Redis.

local VERSION = 5
local MAX = 9007199254740991 -- 2^53 - 1: what a Lua number holds exactly

local function refuse(text)
    error({err = 'ERR tollgate: ' .. text})
end

local function text(number)
    return string.format('%.0f', number)
end

-- Values that were found to be well formed: most of an admission's numbers and names come again
-- with the next one, and need no second check.
local NUMBERS_MAX = 4096
local numbers, numbers_count = {}, 0
local known_node, known_id = false, false -- the last ones

local function number_of(string_value)
    local known = numbers[string_value or false]
    if known then
        return known
    end
    if type(string_value) ~= 'string' or #string_value > 17 or
        not (string_value == '0' or string.match(string_value, '^%-?[1-9]%d*$')) then
        return nil
    end
    local number = tonumber(string_value)
    if number > MAX or number < -MAX then
        return nil
    end
    if numbers_count == NUMBERS_MAX then
        numbers, numbers_count = {}, 0
    end
    numbers[string_value], numbers_count = number, numbers_count + 1
    return number
end

local function integer(args, index, name, low, high)
    local number = number_of(args[index])
    if not number or number < low or number > (high or MAX) then
        refuse(name .. ' is not an integer within its bounds')
    end
    return number
end

local function match(args, index, name, pattern, length)
    local value = args[index]
    if type(value) ~= 'string' or #value > length or not string.match(value, pattern) then
        refuse(name .. ' is malformed')
    end
    return value
end

local function node_of(args, index)
    if args[index] ~= known_node then
        known_node = match(args, index, 'node', '^[a-z0-9%-]+$', 32)
    end
    return known_node
end

local function id_of(args, index, name)
    if args[index] ~= known_id then
        local value = match(args, index, name, '^[0-9a-f]+$', 32)
        if #value ~= 32 then
            refuse(name .. ' is malformed')
        end
        known_id = value
    end
    return known_id
end

local function arity(keys, args, keys_count, low, high)
    if #keys ~= keys_count then
        refuse('keys: ' .. keys_count .. ' expected')
    end
    if #args < low or #args > high then
        refuse('arguments: wrong number')
    end
end

-- A stored total; one that is absent is 0.
local function stored(value, name)
    if not value then
        return 0
    end
    local number = number_of(value)
    if not number then
        refuse('stored ' .. name .. ' is not an integer')
    end
    return number
end

local function bounded(number, name)
    if number > MAX or number < -MAX then
        refuse(name .. ' would pass 2^53 - 1')
    end
    return number
end

local function now_ms()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function grant_of(value)
    if not value then
        return nil
    end
    local epoch, reserved, expires = string.match(value, '^(%x+) (%d+) (%d+)$')
    local grant = {epoch = epoch, reserved = number_of(reserved), expires = number_of(expires)}
    if not epoch or not grant.reserved or not grant.expires then
        refuse('a stored grant is malformed')
    end
    return grant
end

local function grant_text(grant)
    return grant.epoch .. ' ' .. text(grant.reserved) .. ' ' .. text(grant.expires)
end

-- The funds; judge answers a set of them as their sum.
local OF_ACCOUNT, OF_LINK = 1, 2
local GRANTED, UNKNOWN, SUSPENDED, INSUFFICIENT = 0, 1, 2, 3
local REVOKED, USED_UP, LINK_BYTES, NOT_BEGUN, ACCOUNT_BYTES = 4, 5, 6, 7, 8

-- ---- funds: what nodes have reserved of an account's balance, or of a link's max_bytes
-- Each fund has a hash with one field per node.

-- The grants of other nodes whose validity is long over: those nodes are dead or cut off.
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

-- Computes what the fund can still give to this node; writes nothing.
local function fund_open(fund, node, epoch, need, now)
    fund.node = node
    fund.dropped = {}
    local grant = grant_of(redis.call('HGET', fund.key, node))
    if grant and grant.epoch ~= epoch then
        -- Everything that the process before had delivered was posted before this one began to
        -- serve.
        fund.reserved = fund.reserved - grant.reserved
        grant = nil
    end
    fund.grant = grant or {epoch = epoch, reserved = 0}
    if fund.total - fund.reserved < need then
        local sum
        fund.dropped, sum = expired_grants(fund.key, node, now)
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
    redis.call('HSET', fund.key, fund.node, grant_text(fund.grant))
    redis.call('HSET', fund.totals, 'reserved', text(fund.reserved))
end

-- Takes up to `bytes` off the node's grant; returns the bytes taken, and the grant. Writes nothing.
local function lowered(key, node, epoch, bytes)
    local grant = grant_of(redis.call('HGET', key, node))
    if not grant or grant.epoch ~= epoch then
        return 0, nil
    end
    local taken = math.min(bytes, grant.reserved)
    grant.reserved = grant.reserved - taken
    return taken, grant
end

local function lowered_write(key, node, totals, taken, grant, reserved)
    if taken > 0 then
        redis.call('HSET', key, node, grant_text(grant))
        redis.call('HSET', totals, 'reserved', text(math.max(0, reserved - taken)))
    end
end

-- ---- uses: a use is a download. One entry for each path of a link: "until acknowledged opened..."
-- `opened` are the times in milliseconds that name the windows, ascending; the last window is open
-- until `until`, and `acknowledged` bytes arrived in it. A last window in which nothing arrived is
-- not a use.

local OPENED_MAX = 1001
local RESUMING, UNDER_WAY = 1, 2 -- a response that begins has stage 0

local function use_of(value)
    if not value then
        return nil
    end
    local till, acknowledged, rest = string.match(value, '^(%d+) (%d+)( .+)$')
    local use = {till = number_of(till), acknowledged = number_of(acknowledged), opened = {}}
    for opened in string.gmatch(rest or '', ' (%d+)') do
        use.opened[#use.opened + 1] = number_of(opened)
    end
    if not use.till or not use.acknowledged or #use.opened == 0 then
        refuse('a stored use is malformed')
    end
    return use
end

local function use_text(use)
    while #use.opened > OPENED_MAX do
        table.remove(use.opened, 1)
    end
    local parts = {text(use.till), text(use.acknowledged)}
    for _, opened in ipairs(use.opened) do
        parts[#parts + 1] = text(opened)
    end
    return table.concat(parts, ' ')
end

-- Goes on in the path's window, or opens another. Returns the admission and the use to be stored.
local function use_admit(use, terms, now)
    local is_open = use and use.till > now
    if terms.stage == UNDER_WAY or is_open and use.acknowledged < 3 * terms.size then
        return GRANTED, use
    end
    if terms.stage == RESUMING then
        return is_open and USED_UP or NOT_BEGUN, nil
    end
    use = use or {opened = {}, acknowledged = 0}
    local last = use.opened[#use.opened] or 0
    if use.acknowledged == 0 then
        table.remove(use.opened)
    end
    if terms.max_uses > 0 and #use.opened >= terms.max_uses then
        return USED_UP, nil
    end
    if terms.max_uses == 0 then
        use.opened = {}
    end
    use.opened[#use.opened + 1] = math.max(now, last + 1)
    use.acknowledged = 0
    use.till = math.min(now + terms.window, terms.till)
    return GRANTED, use
end

-- Keeps a link's state until `till`, and an hour longer for clocks that differ.
local function keep_until(key, till)
    local known = redis.call('PEXPIRETIME', key)
    if known < till + 3600000 then
        redis.call('PEXPIREAT', key, text(till + 3600000))
    end
end

-- args from 7: path, size, max_uses, max_bytes, till (ms: exp and resume), use_window_ms, stage,
-- and until when the link's state is kept (ms). Returns nil where the link has no terms.
local function terms_of(args)
    if #args == 6 then
        return nil
    end
    if #args ~= 14 or args[7] == '' then
        refuse('terms: eight expected')
    end
    return {
        path = args[7],
        size = integer(args, 8, 'size', 1),
        max_uses = integer(args, 9, 'max_uses', 0, 1000),
        max_bytes = integer(args, 10, 'max_bytes', 0),
        till = integer(args, 11, 'till', 0),
        window = integer(args, 12, 'use_window', 1),
        stage = integer(args, 13, 'stage', 0, 2),
        keep = integer(args, 14, 'keep', 0)
    }
end

-- The funds from which the grant is taken: the account's balance and max_bytes, the link's
-- max_bytes.
local function funds_of(keys, account, terms, link)
    local funds = {}
    local total = account.plan == 'prepaid' and account.balance or nil
    local admission = INSUFFICIENT
    if account.max_bytes > 0 and (not total or account.max_bytes - account.used < total) then
        total, admission = account.max_bytes - account.used, ACCOUNT_BYTES
    end
    if total then
        funds[1] = {key = keys[2], totals = keys[1], total = total,
            reserved = account.reserved, admission = admission, bit = OF_ACCOUNT}
    end
    if terms and terms.max_bytes > 0 then
        funds[#funds + 1] = {key = keys[4], totals = keys[3],
            total = terms.max_bytes - stored(link[2], 'bytes'), reserved = stored(link[3], 'reserved'),
            admission = LINK_BYTES, bit = OF_LINK}
    end
    return funds
end

local function account_of(key)
    local f = redis.call('HMGET', key, 'status', 'plan', 'balance', 'reserved', 'revision', 'used',
        'revoked_before', 'rate', 'max_bytes', 'max_conns')
    return {
        status = f[1], plan = f[2], balance = stored(f[3], 'balance'), reserved = stored(f[4], 'reserved'),
        revision = stored(f[5], 'revision'), used = stored(f[6], 'used'),
        revoked_before = stored(f[7], 'revoked_before'), rate = stored(f[8], 'rate'),
        max_bytes = stored(f[9], 'max_bytes'), max_conns = stored(f[10], 'max_conns')
    }
end

local function refusal(admission, account)
    return {admission, 0, 0, account.revision, 0, 0, 0, 0, 0, 0}
end

-- keys: account, grants, link, link's grants. args: node, epoch, need, want, validity_ms, iat, and
-- those of terms_of. Returns {admission, granted, funds, revision, rate, max_conns, opened, till,
-- acknowledged, left}. `funds` are those from which the bytes were reserved; no more than the bytes
-- may then be sent (0: nothing bounds them). The last four describe the use's window (0: there is
-- none): when it was opened, until when it is open, what has arrived in it, and how many ms of it
-- are left. Unless `takes`, nothing is written and the answer says what would be granted.
local function judge(keys, args, takes)
    arity(keys, args, 4, 6, 14)
    local node, epoch = node_of(args, 1), id_of(args, 2, 'epoch')
    local need, want = integer(args, 3, 'need', 0), integer(args, 4, 'want', 0)
    local validity = integer(args, 5, 'validity', 1, 86400000)
    local iat = integer(args, 6, 'iat', 0)
    local terms = terms_of(args)
    if want < need then
        refuse('want is less than need')
    end
    local account = account_of(keys[1])
    if not account.plan then
        return refusal(UNKNOWN, account) -- usage or money may come before another node's open
    end
    local link = terms and redis.call('HMGET', keys[3], 'revoked', 'bytes', 'reserved', 'p:' .. terms.path) or
        {redis.call('HGET', keys[3], 'revoked')}
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
    if not terms and #funds == 0 then -- nothing to reserve, nothing to store
        return {GRANTED, granted, 0, account.revision, account.rate, account.max_conns, 0, 0, 0, 0}
    end
    now = now or now_ms()
    for _, fund in ipairs(funds) do
        fund_open(fund, node, epoch, need, now)
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
    for _, fund in ipairs(takes and funds or {}) do
        fund_write(fund)
    end
    if takes and use then
        redis.call('HSET', keys[3], 'p:' .. terms.path, use_text(use))
    end
    if takes and terms then
        keep_until(keys[3], terms.keep)
        keep_until(keys[4], terms.keep)
    end
    return {GRANTED, granted, bits, account.revision, account.rate, account.max_conns,
        use and use.opened[#use.opened] or 0, use and use.till or 0, use and use.acknowledged or 0,
        use and math.max(0, use.till - now) or 0}
end

-- keys: account, grants, link, link's grants. args: node, epoch, bytes of the account's, bytes of
-- the link's. Returns what the account got back.
local function release(keys, args)
    arity(keys, args, 4, 4, 4)
    local node, epoch = node_of(args, 1), id_of(args, 2, 'epoch')
    local bytes, link_bytes = integer(args, 3, 'bytes', 0), integer(args, 4, 'bytes', 0)
    local reserved = stored(redis.call('HGET', keys[1], 'reserved'), 'reserved')
    local link_reserved = stored(redis.call('HGET', keys[3], 'reserved'), 'reserved')
    local taken, grant = lowered(keys[2], node, epoch, bytes)
    local link_taken, link_grant = lowered(keys[4], node, epoch, link_bytes)
    lowered_write(keys[2], node, keys[1], taken, grant, reserved)
    lowered_write(keys[4], node, keys[3], link_taken, link_grant, link_reserved)
    return taken
end

-- Parses what arrived in one window of a link with terms: "key opened until keep taken", times in
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

-- Stores what arrived in one window. It reads what earlier calls wrote, for one post may have
-- several windows of a link. Everything that can be refused was checked before.
local function deliver(delivered, node, epoch)
    local values = redis.call('HMGET', delivered.key, delivered.field, 'bytes', 'reserved')
    local use = use_of(values[1]) or {till = 0, acknowledged = 0, opened = {}}
    local arrived = delivered.taken and math.max(1, delivered.bytes) or delivered.bytes
    local last = use.opened[#use.opened] or 0
    if delivered.opened > last and arrived > 0 then
        -- Redis does not know the window: another took its place while nothing had arrived in it,
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
    local taken, grant = lowered(delivered.grants, node, epoch, delivered.bytes)
    lowered_write(delivered.grants, node, delivered.key, taken, grant, stored(values[3], 'reserved'))
    keep_until(delivered.key, delivered.keep)
    keep_until(delivered.grants, delivered.keep)
end

-- args from 7: file, bytes, responses, terms ('' for none), once per file and window.
local function post_usage(keys, args, account, to)
    if (#args - 6) % 4 ~= 0 or #args < 10 then
        refuse('files: file, bytes, responses, terms expected')
    end
    local fields, added, sum, links = {}, {}, 0, {}
    for i = 7, #args, 4 do
        local bytes = integer(args, i + 1, 'bytes', 0)
        local responses = integer(args, i + 2, 'responses', 0)
        if args[i] == '' then
            refuse('file is empty')
        end
        sum = bounded(sum + bytes, 'bytes')
        fields[#fields + 1], added[#added + 1] = 'b:' .. args[i], bytes
        fields[#fields + 1], added[#added + 1] = 'r:' .. args[i], responses
        if args[i + 3] ~= '' then
            local delivered = delivered_of(keys, args[i + 3], args[i], bytes)
            local known = redis.call('HMGET', delivered.key, delivered.field, 'bytes', 'reserved')
            use_of(known[1])
            stored(known[2], 'bytes')
            stored(known[3], 'reserved')
            grant_of(redis.call('HGET', delivered.grants, args[2]))
            links[#links + 1] = delivered
        end
    end
    local totals = {}
    for i, field in ipairs(fields) do
        local total = totals[field] or stored(redis.call('HGET', keys[3], field), field)
        totals[field] = bounded(total + added[i], field)
    end
    local balance, used, reserved = account.balance, bounded(account.used + sum, 'used'), account.reserved
    if account.plan ~= 'postpaid' then
        balance = bounded(balance - sum, 'balance')
    end
    local taken, grant = lowered(keys[2], args[2], args[3], sum)
    -- from here on only writes
    for field, total in pairs(totals) do
        -- A file with responses gets its bytes, too, even 0: usage is listed by its bytes.
        if total > 0 or totals['r:' .. string.sub(field, 3)] > 0 then
            redis.call('HSET', keys[3], field, text(total))
        end
    end
    for _, delivered in ipairs(links) do
        deliver(delivered, args[2], args[3])
    end
    lowered_write(keys[2], args[2], keys[1], taken, grant, reserved)
    redis.call('HSET', keys[1], 'balance', text(balance), 'used', text(used),
        'w:' .. args[1], text(to))
    return balance, account.plan == 'prepaid'
end

local OPERATIONS = {open = true, top_up = true, suspend = true, activate = true, adjust = true,
    revoke_link = true, revoke_before = true, limit = true}

-- Has the nodes that hold grants of the account ask again. On a cluster a message reaches all of
-- its servers. A user who may not publish is not a reason to fail: everything is written by then,
-- and the nodes report that they cannot hear.
local function announce(key, revision)
    redis.pcall('PUBLISH', 'tg:revocations', string.match(key, '{(.*)}') .. ' ' .. text(revision))
end

-- The earliest opening decides the plan, whichever node's journal brings it first.
local function open_fields(account, set, plan, time, transaction)
    local opened = text(time) .. ' ' .. transaction
    local known, id = string.match(account.opened or '', '^(%d+) (.*)$')
    known = known and number_of(known)
    if known and (known < time or (known == time and id <= transaction)) then
        return
    end
    set.opened, set.plan = opened, plan
    if account.plan ~= 'postpaid' and plan == 'postpaid' then
        set.balance = set.balance + account.used
    elseif account.plan == 'postpaid' and plan == 'prepaid' then
        set.balance = set.balance - account.used
    end
    if not account.status then
        set.status = 'active'
    end
end

-- Posts an operation that moves no money. keys[4]: the link of revoke_link, whose amount is when
-- its state may go (ms). The amount of revoke_before is in seconds; that of limit is the rate,
-- followed by max_bytes and max_conns.
local function post_control(keys, args, account, operation, amount, time, set)
    if operation == 'revoke_link' then
        if not keys[4] or amount < 0 then
            refuse('revoke_link: a key and a time expected')
        end
        redis.call('HSET', keys[4], 'revoked', text(time))
        keep_until(keys[4], amount)
    elseif operation == 'revoke_before' then
        set.revoked_before = math.max(account.revoked_before, amount)
    elseif operation == 'limit' and time >= account.limits_at then
        set.rate, set.max_bytes, set.max_conns = amount, integer(args, 12, 'max_bytes', 0),
            integer(args, 13, 'max_conns', 0)
        set.limits_at = time
    elseif (operation == 'suspend' or operation == 'activate') and time >= account.status_at then
        set.status = operation == 'suspend' and 'suspended' or 'active'
        set.status_at = time
    end
    set.revision = account.revision + 1
end

-- The bytes that an adjustment takes away are held from the moment it is allowed until it is
-- posted, so that two that come at once are not both allowed on the same balance. `holds` of the
-- account has "transaction amount until_ms;" for each. A node that died before it journalled leaves
-- its hold until that ends. The post of an adjustment asks for nothing: what was allowed and
-- journalled counts, whichever order journals are replayed in.
local HOLDS_MAX = 100

-- The holds of other transactions: their text, their sum, how many; and the bytes held for
-- `transaction`.
local function holds_beside(value, transaction, now)
    local others, sum, count, own = '', 0, 0, 0
    for id, amount, till in string.gmatch(value or '', '([^ ;]+) (%d+) (%d+);') do
        local bytes = stored(amount, 'hold')
        if stored(till, 'hold') > now then
            if id == transaction then
                own = bytes
            else
                others, sum, count = others .. id .. ' ' .. amount .. ' ' .. till .. ';', sum + bytes, count + 1
            end
        end
    end
    return others, sum, count, own
end

local function holds_write(key, value)
    if value == '' then
        redis.call('HDEL', key, 'holds')
    else
        redis.call('HSET', key, 'holds', value)
    end
end

-- keys: account. args: transaction, the bytes that an adjustment takes away, how many milliseconds
-- they are held. Returns 1: held; 0: the balance would fall below zero; -1: too many holds, ask
-- again.
local function hold(keys, args)
    arity(keys, args, 1, 3, 3)
    local transaction = match(args, 1, 'transaction', '^[A-Za-z0-9._:%-]+$', 64)
    local amount, lasts = integer(args, 2, 'amount', 1), integer(args, 3, 'hold', 1, 86400000)
    local f, now = redis.call('HMGET', keys[1], 'balance', 'holds'), now_ms()
    local balance = stored(f[1], 'balance')
    local others, sum, count, own = holds_beside(f[2], transaction, now)
    amount = math.max(amount, own) -- the id used twice at once: either may be the one that counts
    if balance - sum - amount < 0 then
        return 0
    elseif count >= HOLDS_MAX then
        return -1
    end
    holds_write(keys[1], others .. transaction .. ' ' .. text(amount) .. ' ' .. text(now + lasts) .. ';')
    return 1
end

-- args from 7: operation, amount, plan, time_ms, transaction ('' for none), max_bytes, max_conns.
local function post_money(keys, args, account, to)
    if #keys > 4 or #args ~= 13 then
        refuse('money: wrong number of keys or arguments')
    end
    local operation, plan = args[7], args[9]
    local amount, time = integer(args, 8, 'amount', -MAX), integer(args, 10, 'time', 0)
    local transaction = match(args, 11, 'transaction', '^[A-Za-z0-9._:%-]*$', 64)
    if not OPERATIONS[operation] then
        refuse('operation is unknown')
    end
    if plan ~= 'prepaid' and plan ~= 'postpaid' and not (plan == '-' and operation ~= 'open') then
        refuse('plan is unknown')
    end
    local is_money = operation == 'open' or operation == 'top_up' or operation == 'adjust'
    local set = {balance = account.balance + (is_money and amount or 0)}
    local watermark = 'w:' .. args[1]
    local content = operation .. ' ' .. text(amount) .. ' ' .. plan
    local known = transaction ~= '' and redis.call('HGET', keys[3], transaction)
    local held = operation == 'adjust' and redis.call('HGET', keys[1], 'holds')
    local holds = held and holds_beside(held, transaction, now_ms())
    if operation == 'open' then
        open_fields(account, set, plan, time, transaction)
    end
    if known or set.balance > MAX or set.balance < -MAX then
        -- A transaction never counts twice, and one that contradicts an earlier one, or would pass
        -- the bounds, is counted as a conflict for people to look at.
        if known ~= content then
            redis.call('HSET', keys[1], 'conflicts', text(account.conflicts + 1))
        end
        if held then
            holds_write(keys[1], holds)
        end
        redis.call('HSET', keys[1], watermark, text(to))
        return
    end
    if not is_money then
        post_control(keys, args, account, operation, amount, time, set)
    end
    for field, value in pairs(set) do
        redis.call('HSET', keys[1], field, type(value) == 'number' and text(value) or value)
    end
    if held then
        holds_write(keys[1], holds)
    end
    if transaction ~= '' then
        redis.call('HSET', keys[3], transaction, content)
    end
    redis.call('HSET', keys[1], watermark, text(to))
    if set.revision then
        announce(keys[1], set.revision)
    end
end

-- keys: account, grants, the day's usage or the transactions, and the links that args name. args:
-- instance, node, epoch, from, to, "usage" or "money", and what these take. Returns {0 posted or 1
-- refused, watermark, balance, prepaid}.
local function post(keys, args)
    if #keys < 3 or #args < 10 then
        refuse('wrong number of keys or arguments')
    end
    local instance = id_of(args, 1, 'instance')
    node_of(args, 2)
    id_of(args, 3, 'epoch')
    local from, to = integer(args, 4, 'from', 1), integer(args, 5, 'to', 1)
    if to < from then
        refuse('to is less than from')
    end
    local f = redis.call('HMGET', keys[1], 'w:' .. instance, 'plan', 'status', 'opened', 'balance',
        'used', 'reserved', 'status_at', 'revision', 'conflicts', 'limits_at', 'revoked_before')
    local watermark = stored(f[1], 'watermark')
    if watermark + 1 ~= from then
        return {1, watermark, 0, 0}
    end
    local account = {plan = f[2], status = f[3], opened = f[4], balance = stored(f[5], 'balance'),
        used = stored(f[6], 'used'), reserved = stored(f[7], 'reserved'),
        status_at = stored(f[8], 'status_at'), revision = stored(f[9], 'revision'),
        conflicts = stored(f[10], 'conflicts'), limits_at = stored(f[11], 'limits_at'),
        revoked_before = stored(f[12], 'revoked_before')}
    local balance, prepaid = account.balance, false
    if args[6] == 'usage' then
        balance, prepaid = post_usage(keys, args, account, to)
    elseif args[6] == 'money' and from == to then
        post_money(keys, args, account, to)
    else
        refuse('kind is neither usage nor one money record')
    end
    return {0, to, balance, prepaid and 1 or 0}
end

-- `records` of a node counts the records of usage and money that were on disk when its lease was
-- last renewed. It stays as long as the node's name is known: a journal that comes back with fewer
-- has lost some.
--
-- keys: node. args: instance, epoch, lease_ms, records. Returns {0, milliseconds left, until, held
-- before}: held; {1, ...}: another instance has the name; {2, ...}: another epoch has it; {3,
-- records known, until, 0}: the journal has fewer records.
local function lease(keys, args)
    arity(keys, args, 1, 4, 4)
    local instance, epoch = id_of(args, 1, 'instance'), id_of(args, 2, 'epoch')
    local duration = integer(args, 3, 'lease', 1, 86400000)
    local records = integer(args, 4, 'records', 0)
    local known = redis.call('HMGET', keys[1], 'instance', 'epoch', 'until', 'records')
    local now, till, kept = now_ms(), stored(known[3], 'until'), stored(known[4], 'records')
    if known[1] and known[1] ~= instance then
        return {1, math.max(0, till - now), till, 0}
    end
    if known[1] and known[2] ~= epoch and till > now then
        return {2, till - now, till, 0}
    end
    if known[2] ~= epoch and records < kept then
        return {3, kept, till, 0}
    end
    redis.call('HSET', keys[1], 'instance', instance, 'epoch', epoch, 'until', text(now + duration),
        'records', text(math.max(records, kept)))
    return {0, duration, now + duration, known[2] == epoch and 1 or 0}
end

-- keys: node. args: instance, epoch, records. The name stays this instance's. Returns 1 where it
-- was held.
local function lease_release(keys, args)
    arity(keys, args, 1, 3, 3)
    local instance, epoch = id_of(args, 1, 'instance'), id_of(args, 2, 'epoch')
    local records = integer(args, 3, 'records', 0)
    local known = redis.call('HMGET', keys[1], 'instance', 'epoch', 'records')
    if known[1] ~= instance or known[2] ~= epoch then
        return 0
    end
    redis.call('HSET', keys[1], 'until', '0', 'records', text(math.max(records, stored(known[3], 'records'))))
    return 1
end

-- Adds to `values` the hash's values of these fields.
local function add_values(key, fields, values)
    for first = 1, #fields, 1000 do -- the stack bounds unpack
        local last = math.min(#fields, first + 999)
        local found = redis.call('HMGET', key, unpack(fields, first, last))
        for i = first, last do
            values[fields[i]] = found[i - first + 1]
        end
    end
end

-- keys: a day's usage. args: cursor ('0' first), how many fields to look at. Returns {cursor ('0':
-- no more), file, bytes, responses, file, ...}: a step of HSCAN, whose promises hold for each file.
-- The step is short, for Redis does nothing else meanwhile.
local function usage(keys, args)
    arity(keys, args, 1, 2, 2)
    local cursor = match(args, 1, 'cursor', '^%d+$', 20)
    local scan = redis.call('HSCAN', keys[1], cursor, 'COUNT', text(integer(args, 2, 'count', 1, 1000)))
    local fields, values, missing, out = scan[2], {}, {}, {scan[1]}
    for i = 1, #fields, 2 do
        values[fields[i]] = fields[i + 1]
    end
    for i = 1, #fields, 2 do
        local kind, file = string.sub(fields[i], 1, 2), string.sub(fields[i], 3)
        if file == '' or kind ~= 'b:' and kind ~= 'r:' then
            refuse('a stored field of usage is malformed')
        end
        local other = (kind == 'b:' and 'r:' or 'b:') .. file
        if not values[other] then
            missing[#missing + 1] = other
        end
    end
    add_values(keys[1], missing, values)
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

redis.register_function('tollgate_admit', function(keys, args) return judge(keys, args, true) end)
redis.register_function('tollgate_judge', function(keys, args) return judge(keys, args, false) end)
redis.register_function('tollgate_release', release)
redis.register_function('tollgate_post', post)
redis.register_function('tollgate_hold', hold)
redis.register_function('tollgate_lease', lease)
redis.register_function('tollgate_lease_release', lease_release)
redis.register_function{
    function_name = 'tollgate_usage',
    callback = usage,
    flags = {'no-writes'}
}
-- Without the flag no-writes, so that Redis refuses it wherever it would refuse an admission (see
-- ledger_try_command).
redis.register_function('tollgate_version', function() return VERSION end)
