-- A link's JWS as nginx + Lua verifies it: HS256 alone, by libcrypto's HMAC with a context that has its key already.
-- Base64url is lua-resty-core's, JSON is lua-cjson's.
local ffi = require("ffi")
local json = require("cjson.safe")
local decode = require("ngx.base64").decode_base64url
local find, sub, type = string.find, string.sub, type

ffi.cdef [[
void *HMAC_CTX_new(void);
const void *EVP_sha256(void);
int HMAC_Init_ex(void *context, const char *key, int length, const void *digest, void *engine);
int HMAC_Update(void *context, const char *data, size_t length);
int HMAC_Final(void *context, unsigned char *out, unsigned int *length);
int CRYPTO_memcmp(const void *one, const void *other, size_t length);
]]
local crypto = ffi.load("libcrypto.so.3")
local computed, computed_length = ffi.new("unsigned char[64]"), ffi.new("unsigned int[1]")

local verifier = {}
verifier.__index = verifier

-- The one key that is trusted: its secret in base64url, its kid, and whose it is.
local function new(secret, kid, iss)
    local key, context = decode(secret), crypto.HMAC_CTX_new()
    assert(crypto.HMAC_Init_ex(context, key, #key, crypto.EVP_sha256(), nil) == 1)
    return setmetatable({context = context, kid = kid, iss = iss}, verifier)
end

function verifier:signed(text, length, signature)
    local context = self.context
    return crypto.HMAC_Init_ex(context, nil, 0, nil, nil) == 1 and crypto.HMAC_Update(context, text, length) == 1 and
        crypto.HMAC_Final(context, computed, computed_length) == 1 and #signature == 32 and
        crypto.CRYPTO_memcmp(computed, signature, 32) == 0
end

-- The claims of a link that opens `path` now; or nil and the status that says why not.
function verifier:claims(jws, path, now)
    local first = find(jws, ".", 1, true)
    local second = first and find(jws, ".", first + 1, true)
    local signature = second and decode(sub(jws, second + 1))
    local header = signature and json.decode(decode(sub(jws, 1, first - 1)) or "")
    if type(header) ~= "table" or header.alg ~= "HS256" or header.kid ~= self.kid or header.crit ~= nil then
        return nil, 403
    end
    if not self:signed(jws, second - 1, signature) then
        return nil, 403
    end
    local claims = json.decode(decode(sub(jws, first + 1, second - 1)) or "")
    if type(claims) ~= "table" or claims.iss ~= self.iss or claims.cdniuc ~= "exact:" .. path or
        type(claims.exp) ~= "number" or type(claims.acct) ~= "string" or type(claims.jti) ~= "string" then
        return nil, 403
    end
    if claims.exp <= now then
        return nil, 410
    end
    return claims
end

return {new = new}
