-- ---- what ends ----
-- Usage by day and file, and by month and file, and transactions are hashes that end as a whole, by Redis'
-- own expiry: also of an account of which nothing more is posted. What has ended is in sums of the
-- account's own hash, which are kept from the first post on and so need nobody to make them:
-- `m:YYYYMM`, "bytes responses" of a month; `t:SLOT`, "money until_ms" of the transactions in one hash
-- of the ring; `ended`, the money of those whose hash has ended and was used again.

local DAY_MS = 86400000
local KEPT_MS, PERIOD_MS = TRANSACTION_DAYS_KEPT * DAY_MS, TRANSACTION_PERIOD * DAY_MS

-- When a month begins; the 13th of a year is the first of the next one. The Gregorian calendar repeats
-- itself each 400 years, of 146097 days, and a year that begins in March has its leap day at its end.
local function month_begins(year, month)
    local months = year * 12 + month - 3
    local era_years = math.floor(months / 12)
    local era = math.floor(era_years / 400)
    local of_era = era_years - 400 * era
    local days = math.floor((153 * (months % 12) + 2) / 5) + 365 * of_era + math.floor(of_era / 4) -
        math.floor(of_era / 100)
    return (146097 * era + days - 719468) * DAY_MS
end

-- A date "YYYYMMDD" or "YYYYMM": its month, and when the usage by file of the day and of the month ends.
-- Without a day, the first of these is nil.
local function date_of(args, index)
    local value = args[index]
    local year, month, day = string.match(value, '^([12]%d%d%d)(%d%d)(%d*)$')
    year, month = tonumber(year), tonumber(month)
    if not month or month < 1 or month > 12 or #day ~= 0 and (#day ~= 2 or tonumber(day) < 1 or tonumber(day) > 31) then
        refuse('date is malformed')
    end
    return string.sub(value, 1, 6), #day == 2 and month_begins(year, month) + (tonumber(day) + DAYS_KEPT) * DAY_MS or nil,
        month_begins(year, month + 1 + MONTHS_KEPT)
end

-- A month's totals; those of one without any are 0.
local function month_of(value)
    if not value then
        return 0, 0
    end
    local bytes, responses = string.match(value, '^(%d+) (%d+)$')
    bytes, responses = number_of(bytes), number_of(responses)
    if not bytes or not responses then
        refuse_stored('a stored month is malformed')
    end
    return bytes, responses
end

-- A slot's money, and when its transactions end.
local function slot_of(value)
    if not value then
        return 0, 0
    end
    local money, till = string.match(value, '^(%-?%d+) (%d+)$')
    money, till = number_of(money), number_of(till)
    if not money or not till then
        refuse_stored('a stored sum of transactions is malformed')
    end
    return money, till
end

-- The slot of the ring for what is posted now, and when it ends.
local function slot_at(now)
    local period = math.floor(now / PERIOD_MS)
    return period % TRANSACTION_KEYS_COUNT + 1, (period + 1) * PERIOD_MS + KEPT_MS
end

-- Has a key last until then, or longer.
local function last_until(key, till)
    if redis.call('PEXPIRETIME', key) < till then
        redis.call('PEXPIREAT', key, text(till))
    end
end
