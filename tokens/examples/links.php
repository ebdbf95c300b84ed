<?php // Tollgate links without a library: php links.php KEYS.jwks ORIGIN ORDER
[, $keys, $origin, $order] = $argv;
$jwk = json_decode(file_get_contents($keys))->keys[0];

function base64url($bytes) { return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '='); }
function part($value) { return base64url(json_encode($value, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE)); }
function signed_link($path, $claims) {
    global $jwk, $origin;
    $claims += ['iss' => 'shop', 'acct' => 'demo', 'iat' => time(), 'exp' => time() + 3600];
    $token = part(['alg' => 'HS256', 'kid' => $jwk->kid]) . '.' . part($claims);
    $token .= '.' . base64url(hash_hmac('sha256', $token, base64_decode(strtr($jwk->k, '-_', '+/')), true));
    return $origin . implode('/', array_map('rawurlencode', explode('/', $path))) . "?URISigningPackage=$token";
}

$file = '/Café/01 – 100% #1?.mp3';
$song = signed_link($file, ['cdniuc' => "exact:$file", 'resume' => 86400]);
$album = signed_link($file, ['cdniuc' => 'prefix:/Café/', 'max_uses' => 1, 'jti' => $order]);
echo "$song\n$album\n";

// The song under the album's signature, which is the last 43 characters.
$refused = substr($song, 0, -43) . substr($album, -43);
$answer = file_get_contents($refused, false, stream_context_create(['http' => ['ignore_errors' => true]]));
echo json_decode($answer)->status, ' ', json_decode($answer)->reason, "\n";
