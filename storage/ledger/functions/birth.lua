-- Whether Redis has lost its data. The first node that meets an empty Redis gives it a *birth id*; a
-- node that remembers another one knows that what it saw of other nodes is gone. So that all of them
-- are waited for, each node that has its lease says here which birth id and run id it has
-- replayed its journal to, and told its ceilings.
--
-- A Redis that was restored from an older file has the birth id that the nodes know. The first one that
-- misses there what it said last gives it another one, so that those learn of it, too, that had said
-- nothing since.

-- When a node said what is noted of it.
local function seen_of(entry)
    return tonumber(string.match(entry, '^%S+ %S+ %S+ %S+ (%d+)') or '0')
end

-- Takes BIRTH_KEYS and BIRTH. Returns {birth id, ms since 1970, 1 where the id was set just now, 2 where
-- what the node said last is missing, 3 where there is no room to note it}, and behind them, where the
-- nodes are to be listed, instance and "name directory birth run seen version" of each.
local function birth(keys, args)
    arity(keys, args, BIRTH_KEYS_COUNT, BIRTH_COUNT - 1, BIRTH_COUNT)
    local key, lists = keys[BIRTH_KEYS.birth], integer(args, BIRTH.lists, 'lists', 0, 1) == 1
    local proposed = match(args, BIRTH.proposed, 'the birth id', '^[1-9a-f][0-9a-f]*$', 16)
    local instance = args[BIRTH.instance] ~= '' and id_of(args, BIRTH.instance, 'instance')
    local entry = match(args, BIRTH.name, 'name', '^[a-z0-9%-]+$', 32) .. ' ' ..
        id_of(args, BIRTH.directory, 'directory') .. ' ' ..
        match(args, BIRTH.replayed, 'replayed', '^[0-9a-f%-]+$', 16) .. ' ' ..
        match(args, BIRTH.run, 'run', '^[0-9a-f%-]+$', 40)
    local known = match(args, BIRTH.known, 'known', '^[0-9a-f%-]+$', 16)
    local own, seen_here = id_of(args, BIRTH.own, 'own'), integer(args, BIRTH.seen, 'seen', 0)
    local version = args[BIRTH.version] and match(args, BIRTH.version, 'version', '^%d+$', 9) or '0'
    local now, id = now_ms(), redis.call('HGET', key, 'id')
    local is_listed = instance and redis.call('HGET', key, instance)
    local is_kept = seen_here > 0 and seen_here + NODES_KEPT_MS >= now
    local said = is_kept and redis.call('HGET', key, own) or ''
    local is_older = id == known and is_kept and seen_of(said or '') < seen_here
    local all = (lists or instance and not is_listed) and redis.call('HGETALL', key) or {}
    local out, old, names, entries = {not is_older and id or proposed, now, 0}, {}, {}, {}
    for i = 1, #all, 2 do
        local seen = all[i] ~= 'id' and seen_of(all[i + 1])
        if seen and seen + NODES_KEPT_MS < now and all[i] ~= instance then
            old[#old + 1] = all[i]
        elseif seen and lists then
            names[#names + 1], entries[all[i]] = all[i], all[i + 1]
        end
    end
    table.sort(names)
    for _, known in ipairs(names) do
        out[#out + 1], out[#out + 2] = known, entries[known]
    end
    local has_room = not instance or is_listed or #all / 2 - #old <= NODES_MAX
    out[3] = not id and 1 or is_older and 2 or not has_room and 3 or 0
    -- from here on only writes
    if not id or is_older then
        redis.call('HSET', key, 'id', proposed)
    end
    for _, gone in ipairs(old) do
        redis.call('HDEL', key, gone)
    end
    if instance and has_room then
        redis.call('HSET', key, instance, entry .. ' ' .. text(now) .. ' ' .. version)
    end
    return out
end
