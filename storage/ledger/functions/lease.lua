-- A name belongs to the state directory that had it first.
--
-- Takes NAME_KEYS and NAME. Returns 0: the name is this directory's; 1: it is another's.
local function name(keys, args)
    arity(keys, args, NAME_KEYS_COUNT, NAME_COUNT, NAME_COUNT)
    local key = keys[NAME_KEYS.name]
    local directory, instance = id_of(args, NAME.directory, 'directory'), id_of(args, NAME.instance, 'instance')
    local known = redis.call('HMGET', key, 'directory', 'instance')
    if known[1] and known[1] ~= directory then
        return 1
    end
    if known[2] ~= instance or not known[1] then
        redis.call('HSET', key, 'directory', directory, 'instance', instance)
    end
    return 0
end

-- What the holder of a lease has still to post, for whoever lists the nodes; nil from a node that does not tell it.
local function rest_of(args, names)
    return args[names.aside] and {integer(args, names.unposted, 'unposted', 0), integer(args, names.aside, 'aside', 0)}
end

local function tell_rest(key, rest)
    if rest then
        redis.call('HSET', key, 'unposted', text(rest[1]), 'aside', text(rest[2]))
    else
        redis.call('HDEL', key, 'unposted', 'aside')
    end
end

-- The lease of an instance. Its number grows each time that a process takes it, also where Redis has
-- lost the one that this process had. `until` is a time of Redis' clock, and may lie far off where that
-- clock was set: so nobody takes another's lease because of the clock, but because it stayed the
-- same for as long as it lasts, which is for the asker to see; or because it was given back.
-- The same lock in the same boot is another process' only once the one before has ended: so what comes
-- from a process that began before the one that has the lease comes late, and changes nothing.
-- `records` counts the records of usage and money that were on disk when it was last renewed. It
-- stays: a journal that comes back with fewer has lost some.
--
-- Takes LEASE_KEYS and LEASE. Returns {0, milliseconds left, until, number}: renewed; {1, ...}:
-- taken; {2, milliseconds left, until, number}: another holds it; {3, records known, until, 0}: the
-- journal has fewer records.
local function lease(keys, args)
    arity(keys, args, LEASE_KEYS_COUNT, LEASE_COUNT - 2, LEASE_COUNT)
    local key = keys[LEASE_KEYS.key]
    local number, least = integer(args, LEASE.number, 'number', 0), integer(args, LEASE.least, 'least', 0, MAX - 1)
    local duration = integer(args, LEASE.duration, 'lease', 1, 86400000)
    local records = integer(args, LEASE.records, 'records', 0)
    local met, over = integer(args, LEASE.met, 'met', 0), integer(args, LEASE.over, 'over', 0)
    local boot = match(args, LEASE.boot, 'boot', '^[0-9a-f%-]+$', 36)
    local device = match(args, LEASE.device, 'device', '^%d+$', 20)
    local inode = match(args, LEASE.inode, 'inode', '^%d+$', 20)
    local begun = integer(args, LEASE.begun, 'begun', 0)
    local rest = rest_of(args, LEASE)
    local known = redis.call('HMGET', key, 'number', 'until', 'records', 'boot', 'device', 'inode', 'begun')
    local last, till, kept = stored(known[1], 'number'), stored(known[2], 'until'), stored(known[3], 'records')
    local now = now_ms()
    local own = known[4] == boot and known[5] == device and known[6] == inode and begun >= stored(known[7], 'begun')
    if till > 0 and not own and till ~= over then
        return {2, math.max(0, math.min(till - now, duration)), till, last}
    end
    -- Redis has lost the lease of a process that may well live, and that takes it again at its next question: it
    -- has none, or an older one that was given back.
    if till == 0 and met > 0 then
        return {2, 0, met, 0}
    end
    local renews = number > 0 and own and number == last
    if not renews and records < kept then
        return {3, kept, till, 0}
    end
    -- Redis may have lost its newest data: a process whose number it does not know any more takes
    -- another one, above its own, too, since that is in its journal.
    if not renews or number <= least then
        number, renews = bounded(math.max(last, least, number) + 1, 'the number'), false
    end
    redis.call('HSET', key, 'number', text(number), 'until', text(now + duration), 'records',
        text(math.max(records, kept)), 'boot', boot, 'device', device, 'inode', inode, 'begun', text(begun))
    tell_rest(key, rest)
    return {renews and 0 or 1, duration, now + duration, number}
end

-- Takes LEASE_KEYS and LEASE_RELEASE. Returns 1 where the lease was held.
local function lease_release(keys, args)
    arity(keys, args, LEASE_KEYS_COUNT, LEASE_RELEASE_COUNT - 2, LEASE_RELEASE_COUNT)
    local key = keys[LEASE_KEYS.key]
    local number = integer(args, LEASE_RELEASE.number, 'number', 1)
    local records = integer(args, LEASE_RELEASE.records, 'records', 0)
    local rest = rest_of(args, LEASE_RELEASE)
    local known = redis.call('HMGET', key, 'number', 'records')
    local last, kept = stored(known[1], 'number'), stored(known[2], 'records')
    if last ~= number then
        return 0
    end
    redis.call('HSET', key, 'until', '0', 'records', text(math.max(records, kept)))
    tell_rest(key, rest)
    return 1
end
