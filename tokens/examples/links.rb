# Tollgate links with ruby-jwt: ruby links.rb KEYS.jwks ORIGIN ORDER
%w[base64 erb json jwt net/http].each { |library| require library }

KEYS, ORIGIN, ORDER = ARGV
JWK = JSON.parse(File.read(KEYS))['keys'].first
SECRET = Base64.urlsafe_decode64(JWK['k'])

def link(path, claims)
  now = Time.now.to_i
  claims = { iss: 'shop', acct: 'demo', iat: now, exp: now + 3600, **claims }
  token = JWT.encode(claims, SECRET, 'HS256', kid: JWK['kid'])
  ORIGIN + path.gsub(%r{[^/]+}) { |name| ERB::Util.url_encode(name) } + '?URISigningPackage=' + token
end

file = '/Café/01 – 100% #1?.mp3'
song = link(file, cdniuc: "exact:#{file}", resume: 86_400)
album = link(file, cdniuc: 'prefix:/Café/', max_uses: 1, jti: ORDER)
puts song, album

# The song under the album's signature, which is the last 43 characters.
answer = Net::HTTP.get_response(URI(song[0..-44] + album[-43..]))
puts "#{answer.code} #{JSON.parse(answer.body)['reason']}" unless answer.is_a?(Net::HTTPSuccess)
