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
