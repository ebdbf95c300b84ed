-- ---- uses: a use is a download. One entry for each path of a link: "until acknowledged opened..."
-- `opened` are the times in milliseconds that name the uses, ascending; the last use is open
-- until `until`, and `acknowledged` bytes arrived in it. A last use in which nothing arrived is
-- not a use: the next one takes its name, so that what a node has delivered in it and not posted yet
-- does not make two of them.

local OPENED_MAX = 1001

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
        refuse_stored('a stored use is malformed')
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

-- Goes on in the path's use, or opens another. Returns the admission and the use to be stored.
local function use_admit(use, terms, now)
    local is_open = use and use.till > now
    if terms.stage == UNDER_WAY or is_open and use.acknowledged < 3 * terms.size then
        return GRANTED, use
    end
    if terms.stage == RESUMING then
        return is_open and USED_UP or NOT_BEGUN, nil
    end
    use = use or {opened = {}, acknowledged = 0}
    local last, opened = use.opened[#use.opened] or 0, nil
    if use.acknowledged == 0 then
        opened = table.remove(use.opened)
    end
    if terms.max_uses > 0 and #use.opened >= terms.max_uses then
        return USED_UP, nil
    end
    if terms.max_uses == 0 then
        use.opened = {}
    end
    use.opened[#use.opened + 1] = opened or math.max(now, last + 1)
    use.acknowledged = 0
    use.till = math.min(now + terms.period, terms.till)
    return GRANTED, use
end

-- A link's state is kept an hour longer than it is of use, for clocks that differ.
local LINK_KEPT_MS = 3600000

local function keep_until(key, till)
    last_until(key, till + LINK_KEPT_MS)
end

-- The arguments of TERMS behind those of ADMIT. Returns nil where the link has no terms.
local function terms_of(args, lease)
    if #args == ADMIT_COUNT then
        return nil
    end
    if #args ~= TERMS_COUNT or args[TERMS.path] == '' then
        refuse('terms: wrong number, or no path')
    end
    local count = integer(args, TERMS.link_count, 'count', 0)
    return {
        path = args[TERMS.path],
        size = integer(args, TERMS.size, 'size', 1),
        max_uses = integer(args, TERMS.max_uses, 'max_uses', 0, 1000),
        max_bytes = integer(args, TERMS.max_bytes, 'max_bytes', 0),
        till = integer(args, TERMS.till_ms, 'till', 0),
        period = integer(args, TERMS.use_period_ms, 'use_period', 1),
        stage = integer(args, TERMS.stage, 'stage', 0, 2),
        keep = integer(args, TERMS.keep_ms, 'keep', 0),
        told = count > 0 and {lease = lease, count = count,
            is_new = integer(args, TERMS.link_is_new, 'is_new', 0, 1) == 1,
            ceiling = integer(args, TERMS.link_ceiling, 'ceiling', 0),
            least = integer(args, TERMS.link_least, 'least', 0), want = integer(args, TERMS.link_want, 'want', 0),
            spare = integer(args, TERMS.link_spare, 'spare', 0)}
    }
end

-- The fund of a link with max_bytes. `link` has its fields revoked and bytes.
local function link_fund_of(keys, terms, link)
    if terms.max_bytes == 0 then
        return nil
    end
    terms.fund = {key = keys[GRANT_KEYS.link_grants], total = terms.max_bytes - stored(link[2], 'bytes'),
        bounds = BY_LINK_BYTES}
    return terms.fund
end
