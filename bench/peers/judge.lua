#!lua name=peer

-- What nginx + Lua asks Redis for each link, in one round trip and with one word for an answer: is the account active
-- and not spent, and is the link not revoked?
-- keys: account, revoked link.
local function judge(keys)
    local found = redis.call('HMGET', keys[1], 'state', 'balance', 'used')
    if found[1] ~= 'active' then
        return 402
    end
    if tonumber(found[2]) <= tonumber(found[3]) then
        return 402
    end
    if redis.call('EXISTS', keys[2]) == 1 then
        return 410
    end
    return 200
end

redis.register_function {function_name = 'judge', callback = judge, flags = {'no-writes'}}
