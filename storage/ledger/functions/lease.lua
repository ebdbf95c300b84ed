-- `records` of a node counts the records of usage and money that were on disk when its lease was
-- last renewed. It stays as long as the node's name is known: a journal that comes back with fewer
-- has lost some.
--
-- Takes LEASE_KEYS and LEASE. Returns {0, milliseconds left, until, held
-- before}: held; {1, ...}: another instance has the name; {2, ...}: another epoch has it; {3,
-- records known, until, 0}: the journal has fewer records.
local function lease(keys, args)
    arity(keys, args, LEASE_KEYS_COUNT, LEASE_COUNT, LEASE_COUNT)
    local key = keys[LEASE_KEYS.name]
    local instance, epoch = id_of(args, LEASE.instance, 'instance'), id_of(args, LEASE.epoch, 'epoch')
    local duration = integer(args, LEASE.duration, 'lease', 1, 86400000)
    local records = integer(args, LEASE.records, 'records', 0)
    local known = redis.call('HMGET', key, 'instance', 'epoch', 'until', 'records')
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
    redis.call('HSET', key, 'instance', instance, 'epoch', epoch, 'until', text(now + duration),
        'records', text(math.max(records, kept)))
    return {0, duration, now + duration, known[2] == epoch and 1 or 0}
end

-- Takes LEASE_KEYS and LEASE_RELEASE. The name stays this instance's. Returns 1 where it
-- was held.
local function lease_release(keys, args)
    arity(keys, args, LEASE_KEYS_COUNT, LEASE_RELEASE_COUNT, LEASE_RELEASE_COUNT)
    local key = keys[LEASE_KEYS.name]
    local instance = id_of(args, LEASE_RELEASE.instance, 'instance')
    local epoch = id_of(args, LEASE_RELEASE.epoch, 'epoch')
    local records = integer(args, LEASE_RELEASE.records, 'records', 0)
    local known = redis.call('HMGET', key, 'instance', 'epoch', 'records')
    if known[1] ~= instance or known[2] ~= epoch then
        return 0
    end
    redis.call('HSET', key, 'until', '0', 'records', text(math.max(records, stored(known[3], 'records'))))
    return 1
end
