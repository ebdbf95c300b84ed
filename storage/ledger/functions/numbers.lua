local function refuse(text)
    error({err = 'ERR tollgate: ' .. text})
end

-- What Redis holds of the account is not as it should be: the code by which nodes set it aside.
local function refuse_stored(text)
    error({err = 'DAMAGED tollgate: ' .. text})
end

local function text(number)
    return string.format('%.0f', number)
end

-- Values that were found to be well formed: most of an admission's numbers and names come again
-- with the next one, and need no second validation.
local NUMBERS_MAX = 4096
local numbers, numbers_count = {}, 0
local known_instance = false -- the last one

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

local function id_of(args, index, name)
    local value = match(args, index, name, '^[0-9a-f]+$', 32)
    if #value ~= 32 then
        refuse(name .. ' is malformed')
    end
    return value
end

local function instance_of(args, index)
    if args[index] ~= known_instance then
        known_instance = id_of(args, index, 'instance')
    end
    return known_instance
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
        refuse_stored('stored ' .. name .. ' is not an integer')
    end
    return number
end

local function bounded(number, name)
    if number > MAX or number < -MAX then
        refuse_stored(name .. ' would pass 2^53 - 1')
    end
    return number
end

local function now_ms()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
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
