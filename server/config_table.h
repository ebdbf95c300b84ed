/*
 * Every key of the configuration file, once: from these tables come the defaults, the bounds, the
 * YAML schema, the messages and `tollgate serve --print-config-reference`. Included by the
 * config_*.c files alone; whoever adds a key adds a row here and a field of the same name to struct
 * config.
 */
#ifndef TOLLGATE_SERVER_CONFIG_TABLE_H
#define TOLLGATE_SERVER_CONFIG_TABLE_H

/* In place of a default: the key must be given. */
#define CONFIG_REQUIRED NULL

/*
 * Types:
 *   TEXT    a string; minimum and maximum are its length in bytes
 *   PATH    a string, resolved against the configuration file's directory where relative; likewise
 *   CHOICE  one of the words in the column unit, in any case; none of them only where that is the
 *           default
 *   NUMBER  a whole number; minimum and maximum are its value
 *   AUTO    a whole number, or `auto`, which is 0
 *
 * X(name, type, default, minimum, maximum, unit, help)
 */
#define CONFIG_KEYS(X)                                                                             \
    X(listen, TEXT, "127.0.0.1:8080", 2, 64, "",                                                   \
      "Address and port to serve on: 127.0.0.1:8080, [::1]:8080, or :8080 for all addresses.")     \
    X(listen_tls, TEXT, "", 0, 64, "",                                                             \
      "Address and port to serve HTTPS on, such as :8443. Needs certificates. Empty: none.")       \
    X(certificates, PATH, "", 0, 4095, "",                                                         \
      "A PEM file with a certificate chain and its key (or the key in FILE.key), or a directory "  \
      "of such *.pem files and of directories with fullchain.pem and privkey.pem.")                \
    X(tls_groups, TEXT, "X25519:P-256:P-384", 1, 1024, "",                                         \
      "Groups of the key exchange in the order of preference, named as OpenSSL names them. Over "  \
      "TLS 1.3 the first that the client has sent a share of is taken. OpenSSL 3.5 and later "     \
      "have "                                                                                      \
      "post-quantum ones: X25519MLKEM768:X25519:P-256.")                                           \
    X(tls_ciphers, TEXT,                                                                           \
      "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:"                \
      "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                 \
      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                 \
      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305",                                 \
      1, 2048, "",                                                                                 \
      "Ciphers in the order of preference, named as `openssl ciphers` names them: those of TLS "   \
      "1.3, which begin with TLS_, and those of TLS 1.2, which are with ECDHE and AES-GCM or "     \
      "ChaCha20-Poly1305. A version of TLS that has none here is not spoken.")                     \
    X(tls_ticket_keys, PATH, "", 0, 4095, "",                                                      \
      "A file of session ticket keys, 80 bytes each as nginx has them (`openssl rand 80`), for "   \
      "nodes that resume each other's sessions, and across restarts. The first makes tickets, "    \
      "each opens them; SIGHUP reads it again. Only the node's user may read it. Empty: keys of "  \
      "the process's own.")                                                                        \
    X(plain_http, CHOICE, "serve", 0, 0, "serve redirect",                                         \
      "What clients get at `listen`: serve, or redirect to the https:// public_origin.")           \
    X(public_origin, TEXT, "", 0, 255, "",                                                         \
      "Scheme and authority that clients see, such as https://media.example. The containers "      \
      "hash: "                                                                                     \
      "and regex: compare under it. Where empty: https:// and listen_tls, or http:// and listen.") \
    X(proxy_protocol_from, TEXT, "", 0, 1024, "",                                                  \
      "Addresses and prefixes of proxies that begin each connection with a PROXY protocol header " \
      "(version 1 or 2), such as 10.0.0.0/8 2001:db8::/32. Nobody else's is read.")                \
    X(forwarded_from, TEXT, "", 0, 1024, "",                                                       \
      "Addresses and prefixes of proxies that name the client in forwarded_field of each "         \
      "request; list proxies alone. The client is the rightmost address in the field that is of "  \
      "no such proxy; what stands left of it is its own word and ignored, and so is the field "    \
      "from anybody else. Where the field is missing, hides the client (`unknown`, `_name`) or "   \
      "cannot be read, the client is the last proxy that is known. Of such clients the requests "  \
      "under way count against connections_per_address_max, not the proxy's connections. Both "    \
      "keys may go together: the header of proxy_protocol_from is read first.")                    \
    X(forwarded_field, CHOICE, "X-Forwarded-For", 0, 0, "X-Forwarded-For Forwarded",               \
      "What the proxies of forwarded_from send: X-Forwarded-For or Forwarded (RFC 7239). Only "    \
      "that field is read: the other one may come from the client.")                               \
    X(media_root, PATH, CONFIG_REQUIRED, 1, 4095, "",                                              \
      "Directory of the files that are served. Nothing outside of it is ever opened.")             \
    X(follow_links, CHOICE, "off", 0, 0, "off on",                                                 \
      "on: symbolic links beneath media_root are followed where they stay within it on their "     \
      "whole way, which an absolute one never does. A link of a shop for `prefix:/dir/` then "     \
      "reaches what the symbolic links in that directory name, too, wherever in media_root that "  \
      "is. off: none is followed. `tollgate media scan` names those that are passed over.")        \
    X(state_dir, PATH, CONFIG_REQUIRED, 1, 4095, "",                                               \
      "Directory of the journal, the admin socket and the embedded Redis. One node each; keep it " \
      "on a local disk and back it up.")                                                           \
    X(node, TEXT, "node-1", 1, 32, "",                                                             \
      "Name of this node, [a-z0-9-]. Nodes that share a Redis need different names.")              \
    X(redis, TEXT, "embedded", 1, 511, "",                                                         \
      "embedded: the node runs a private Redis. Otherwise the address of one: unix:/path, "        \
      "host:port, [::1]:port or redis://host:port. A name is resolved again when a connection "    \
      "fails, and each of its addresses is tried.")                                                \
    X(redis_user, TEXT, "", 0, 255, "",                                                            \
      "Redis user name (ACL). Empty: the default user. Needs redis_password_file.")                \
    X(redis_password_file, PATH, "", 0, 4095, "",                                                  \
      "File whose first line is the Redis password. Empty: none.")                                 \
    X(token_attribute, TEXT, "URISigningPackage", 1, 64, "",                                       \
      "Name of the URL parameter and of the cookie that carry the token.")                         \
    X(jti_single_use, CHOICE, "off", 0, 0, "off strict",                                           \
      "off: a jti names a link, and max_uses limits it. strict: as RFC 9246 has it, a link with "  \
      "a jti is good for one use.")                                                                \
    X(content_type, TEXT, "application/octet-stream", 3, 127, "",                                  \
      "Content-Type of files whose extension is not in content_types.")                            \
    X(content_types, TEXT,                                                                         \
      ".mp3=audio/mpeg .m4a=audio/mp4 .m4b=audio/mp4 .m4r=audio/mp4 .aac=audio/aac "               \
      ".ogg=audio/ogg .oga=audio/ogg .opus=audio/ogg .spx=audio/ogg .flac=audio/flac "             \
      ".wav=audio/wav .aif=audio/aiff .aiff=audio/aiff .wma=audio/x-ms-wma .mka=audio/x-matroska " \
      ".weba=audio/webm .ac3=audio/ac3 .mid=audio/midi .midi=audio/midi .amr=audio/amr "           \
      ".m3u8=application/vnd.apple.mpegurl .m3u=audio/x-mpegurl .pls=audio/x-scpls "               \
      ".mpd=application/dash+xml .ts=video/mp2t .m4s=video/iso.segment .mp4=video/mp4 "            \
      ".m4v=video/mp4 .cmfa=audio/mp4 .cmfv=video/mp4 .mov=video/quicktime .webm=video/webm "      \
      ".mkv=video/x-matroska .ogv=video/ogg .ogx=application/ogg .avi=video/x-msvideo "            \
      ".mpg=video/mpeg .mpeg=video/mpeg .3gp=video/3gpp .vtt=text/vtt .srt=application/x-subrip "  \
      ".jpg=image/jpeg .jpeg=image/jpeg .png=image/png .gif=image/gif .webp=image/webp "           \
      ".avif=image/avif .bmp=image/bmp .tif=image/tiff .tiff=image/tiff .ico=image/x-icon "        \
      ".pdf=application/pdf .epub=application/epub+zip .mobi=application/x-mobipocket-ebook "      \
      ".cbz=application/vnd.comicbook+zip .txt=text/plain;charset=utf-8 "                          \
      ".md=text/markdown;charset=utf-8 .csv=text/csv .json=application/json .xml=application/xml " \
      ".rss=application/rss+xml .zip=application/zip .gz=application/gzip .tar=application/x-tar " \
      ".7z=application/x-7z-compressed .rar=application/vnd.rar .bz2=application/x-bzip2 "         \
      ".xz=application/x-xz .zst=application/zstd",                                                \
      0, 8191, "",                                                                                 \
      "The table of Content-Types by extension, in any case; a table given here takes the place "  \
      "of the default. Parameters follow without spaces: .txt=text/plain;charset=utf-8. Formats "  \
      "that run scripts in a page (HTML, SVG) are left out; add them where you trust the files.")  \
    X(cors_allow_headers, TEXT,                                                                    \
      "Authorization, If-Match, If-Modified-Since, If-None-Match, If-Range, "                      \
      "If-Unmodified-Since, Range",                                                                \
      0, 1023, "",                                                                                 \
      "Fields that a page of an issuer's origins may send: Access-Control-Allow-Headers. Empty: "  \
      "none but those that need no leave.")                                                        \
    X(cross_origin_resource_policy, CHOICE, "", 0, 0, "same-origin same-site cross-origin",        \
      "Which pages may embed what is answered, by Cross-Origin-Resource-Policy: same-origin, "     \
      "same-site or cross-origin. Empty: the header is not sent.")                                 \
    X(cache_max_age_s, NUMBER, "3600", 0, 31536000, "seconds",                                     \
      "How long a client may keep what it was sent; never past the link's exp.")                   \
    X(access_log, PATH, "", 0, 4095, "",                                                           \
      "File for a line about each response; /dev/stdout works, too. SIGUSR1 opens it anew. "       \
      "Empty: none.")                                                                              \
    X(access_log_format, CHOICE, "json", 0, 0, "json combined",                                    \
      "How the lines of access_log look: json is one object a line, combined what Apache writes.") \
    X(admin_listen, TEXT, "", 0, 255, "",                                                          \
      "Where shops reach the admin interface over HTTP with their issuer's secret: an address on " \
      "loopback such as 127.0.0.1:8090, or unix:/path. For shops elsewhere, put a TLS proxy or a " \
      "tunnel before it. Empty: none.")                                                            \
    X(log_level, CHOICE, "info", 0, 0, "error warning info debug",                                 \
      "The node's log has lines of this level and of those above it.")                             \
    X(workers, AUTO, "0", 0, 256, "threads", "Worker threads. auto (or 0): one per core.")         \
    X(connections_max, NUMBER, "10000", 1, 1000000, "connections",                                 \
      "Connections open at once on the node; further ones are refused.")                           \
    X(connections_per_address_max, NUMBER, "0", 0, 1000000, "connections",                         \
      "Connections of one address (IPv6: of one /64); further ones are answered 429. 0: no "       \
      "bound, because many clients may share an address.")                                         \
    X(failed_checks_max, NUMBER, "100", 0, 1000000, "checks",                                      \
      "Signatures of links from one address (IPv6: from one /64; behind a trusted proxy, the "     \
      "client's) that may turn out wrong at once: such a check costs twenty times what serving "   \
      "does. Past it, links that this node does not know are answered 429 unchecked, and those "   \
      "that it knows are served. 0: no bound.")                                                    \
    X(failed_checks_per_minute, NUMBER, "60", 1, 60000, "checks per minute",                       \
      "How fast an address that has used up failed_checks_max gets them back.")                    \
    X(requests_max, NUMBER, "100000", 1, 1000000000, "requests",                                   \
      "Requests on one connection; the answer to the last one ends it.")                           \
    X(rate_min_bytes_per_s, NUMBER, "1024", 0, 1073741824, "bytes per second",                     \
      "While nine tenths of connections_max are open, transfers that were slower than this over "  \
      "5 seconds are cut. A player that pauses is left alone otherwise.")                          \
    X(head_bytes_max, NUMBER, "16384", 1024, 65536, "bytes",                                       \
      "A request's head may be this long, of 64 fields; the answer to a longer one is 431. The "   \
      "default has room for a request line of 8,000 bytes (RFC 9112 3) beside a browser's "        \
      "fields.")                                                                                   \
    X(head_timeout_ms, NUMBER, "10000", 100, 600000, "milliseconds",                               \
      "A request's head must have arrived whole within this time of its first byte.")              \
    X(idle_timeout_ms, NUMBER, "60000", 100, 3600000, "milliseconds",                              \
      "A connection without a request is closed after this time.")                                 \
    X(stall_timeout_ms, NUMBER, "60000", 100, 3600000, "milliseconds",                             \
      "A transfer is cut when the client has acknowledged nothing for this time.")                 \
    X(stop_timeout_ms, NUMBER, "30000", 0, 3600000, "milliseconds",                                \
      "After SIGTERM, transfers under way may finish within this time.")                           \
    X(link_lifetime_max_s, NUMBER, "604800", 1, 315360000, "seconds",                              \
      "A link whose exp is further away than this is refused.")                                    \
    X(nbf_leeway_s, NUMBER, "5", 0, 300, "seconds",                                                \
      "A link is admitted this much before its nbf, for storefronts whose clock runs ahead.")      \
    X(use_window_s, NUMBER, "86400", 1, 31536000, "seconds",                                       \
      "A use of a link with max_uses is a download: requests within this time of its first "       \
      "belong "                                                                                    \
      "to it, until three times the file has arrived.")                                            \
    X(unacknowledged_max, NUMBER, "64", 1, 1000000, "responses",                                   \
      "Responses of a link that may end within a minute with more left unacknowledged than was "   \
      "acknowledged (of an account: sixteen times as many); then the use is taken and the next "   \
      "answer is 429.")                                                                            \
    X(balance_low_bytes, NUMBER, "104857600", 0, 9007199254740991, "bytes",                        \
      "When deliveries bring a prepaid balance below this, the shop is told by the event "         \
      "balance_low.")                                                                              \
    X(grant_validity_ms, NUMBER, "30000", 100, 600000, "milliseconds",                             \
      "How long bytes reserved from an account stay reserved. Bounds revocation while Redis is "   \
      "out of reach.")                                                                             \
    X(grant_slice_bytes, NUMBER, "16777216", 4096, 1099511627776, "bytes",                         \
      "How many bytes are reserved from an account at a time.")                                    \
    X(admission_timeout_ms, NUMBER, "2000", 10, 60000, "milliseconds",                             \
      "Redis must have answered an admission within this time; else the client is told 503.")      \
    X(tokens_max, NUMBER, "16384", 16, 16777216, "tokens per worker",                              \
      "Verified tokens that a worker remembers.")                                                  \
    X(open_files_max, NUMBER, "1024", 1, 1000000, "files per worker",                              \
      "Files that a worker keeps open; those of up to 16 KiB also in memory.")                     \
    X(revalidate_ms, NUMBER, "1000", 0, 3600000, "milliseconds",                                   \
      "An open file is held against the disk again after this time.")                              \
    X(hash_wait_ms, NUMBER, "3000", 0, 60000, "milliseconds",                                      \
      "How long a request with an entity tag waits for a file that is not hashed yet. After "      \
      "that, or while 64 requests of the node already wait, the tag counts as another one, and "   \
      "If-Match is answered 503.")                                                                 \
    X(hash_entries_max, NUMBER, "1000000", 1, 4294967295, "files",                                 \
      "Content hashes that are remembered.")                                                       \
    X(windows_max, NUMBER, "32768", 1, 16777216, "downloads",                                      \
      "Downloads open at once on the node.")                                                       \
    X(accounts_max, NUMBER, "1000000", 1, 100000000, "accounts",                                   \
      "Accounts that the node's journal may hold. New ones are refused beyond it; those that it "  \
      "holds are always loaded, and those that other nodes opened are taken in as they are used.") \
    X(accounts_per_issuer_max, AUTO, "0", 0, 100000000, "accounts",                                \
      "Accounts that the node's journal may hold of one issuer, likewise. auto (or 0): "           \
      "accounts_max divided by the number of issuers, so that a shop that opens accounts "         \
      "without end leaves each other shop its share.")                                             \
    X(journal_segment_bytes, NUMBER, "67108864", 65536, 4294967296, "bytes",                       \
      "Size of one journal file; a multiple of 4096.")                                             \
    X(journal_mark_ms, NUMBER, "100", 10, 1000, "milliseconds",                                    \
      "How often the bytes of running downloads are written to the journal.")

/*
 * The keys of an entry of `issuers`. Kinds: TEXT, PATH and NUMBER as above, LIST a sequence of strings.
 * X(name, kind, minimum, maximum, help): of a list, the minimum and maximum count.
 */
#define CONFIG_ISSUER_KEYS(X)                                                                      \
    X(id, TEXT, 1, 32, "Short name, [a-z0-9-]; accounts are called ID/NAME.")                      \
    X(iss, TEXT, 1, 128, "The value of the iss claim in the tokens that it signs.")                \
    X(keys, PATH, 1, 4095, "Its key set, a JWKS file; `tollgate key generate` makes one.")         \
    X(prefixes, LIST, 1, 64, "Paths that it may sign for; each starts and ends with a slash.")     \
    X(audiences, LIST, 0, 16, "Values of aud that are this service. None: tokens carry no aud.")   \
    X(origins, LIST, 0, 16,                                                                        \
      "Origins of web pages that may fetch by script (CORS): https://shop.example, or \"*\".")     \
    X(refusal_url, TEXT, 0, 1024,                                                                  \
      "Where a browser is sent whose link is refused, with reason=NAME added. Empty: a page of "   \
      "this server's.")                                                                            \
    X(resume_s, NUMBER, 0, 315360000,                                                              \
      "Seconds that a download begun before exp may go on by ranges after it, for links without "  \
      "the claim resume; link_lifetime_max_s at most. 0: none.")                                   \
    X(admin_secret_file, PATH, 0, 4095,                                                            \
      "File of the bearer secrets of this issuer's shop at admin_listen, one a line, each of 32 "  \
      "characters or more. Empty: the shop has no access, and is told no events.")

#define CONFIG_ISSUERS_MAX 1024

#endif
