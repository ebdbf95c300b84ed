-- ---- filling: accounts of which a journal's first records come in parts of a checkpoint, see fill.lua
-- `filling` of the account has "instance segment sequence part until_ms;" for each journal of which some
-- parts are there and not all: which checkpoint they are of, how far it goes, and the last part that was
-- taken. Until then nothing of the account is granted or ordered.

-- What stands of the instance, or nil; the text of the others; and until when the last of them waits.
local function filling_of(value, instance)
    local own, others, last, length = nil, '', 0, 0
    for entry, id, segment, sequence, part, till in string.gmatch(value or '',
        '((%x+) (%d+) (%d+) (%d+) (%d+);)') do
        local of = {segment = number_of(segment), sequence = number_of(sequence), part = number_of(part),
            till = number_of(till)}
        if not of.segment or not of.sequence or not of.part or not of.till then
            refuse_stored('stored filling is malformed')
        end
        if id == instance then
            own = of
        else
            others = others .. entry
        end
        last, length = math.max(last, of.till), length + #entry
    end
    if value and length ~= #value then
        refuse_stored('stored filling is malformed')
    end
    return own, others, last
end

-- Whether parts of the account are missing, and may still come.
local function is_filling(value)
    local _, _, last = filling_of(value, '')
    return last > now_ms()
end
