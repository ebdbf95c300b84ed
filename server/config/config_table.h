/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key of the configuration file, once: from these tables come the defaults, the bounds,
 * the YAML schema, the messages and `tollgate serve --print-config-reference`. Only files
 * of this folder include it. A new key needs a row here and a field of the same name in struct
 * config.
 */
#ifndef TOLLGATE_SERVER_CONFIG_CONFIG_TABLE_H
#define TOLLGATE_SERVER_CONFIG_CONFIG_TABLE_H

/* Stands in place of a default where the key must be given. */
#define CONFIG_REQUIRED NULL

/*
 * What a reload reads again, in this order. `what` completes "SIGHUP reads", and `help` stands with
 * each key of that part.
 *
 * X(name, what, help)
 */
#define CONFIG_RELOADS(X)                                                                          \
    X(KEY_SETS, "the issuers' key sets", "Read again when the file changes, and at SIGHUP.")       \
    X(CERTIFICATES, "the certificates, the ticket keys", "SIGHUP reads it again.")                 \
    X(SECRETS, "the shops' secrets", "SIGHUP reads it again.")

/*
 * Types:
 *   TEXT    a string; minimum and maximum are its length in bytes
 *   PATH    a string, taken from the configuration file's directory where it is relative; minimum
 *           and maximum are its length in bytes
 *   CHOICE  one of the words in the column `unit`, in upper or lower case; or "" where that is the
 *           default
 *   NUMBER  a whole number; minimum and maximum are its value
 *   AUTO    a whole number, or `auto`, which is 0
 *
 * Reload: RESTART, or the part of a reload that reads again what the key names (CONFIG_RELOADS). A
 * new value takes a restart in any case.
 *
 * X(name, type, reload, default, minimum, maximum, unit, help)
 */
#define CONFIG_KEYS(X)                                                                             \
    X(listen, TEXT, RESTART, "127.0.0.1:8080", 1, 64, "",                                          \
      "Address and port to serve on: 127.0.0.1:8080, [::1]:8080, or :8080 for all addresses.")     \
    X(listen_tls, TEXT, RESTART, "", 0, 64, "",                                                    \
      "Address and port to serve HTTPS on, such as :8443. Needs certificates. Empty: no HTTPS.")   \
    X(certificates, PATH, CERTIFICATES, "", 0, 4095, "",                                           \
      "A PEM file with a certificate chain and its key (or the key in FILE.key), or a directory "  \
      "of such *.pem files and of directories with fullchain.pem and privkey.pem. An OCSP "        \
      "response (DER) in FILE.ocsp beside the certificate's FILE is stapled.")                     \
    X(tls_groups, TEXT, RESTART, "X25519:P-256:P-384", 1, 1024, "",                                \
      "Groups for the key exchange in the order of preference, named as OpenSSL names them. Over " \
      "TLS 1.3, the first group for which the client has sent a key share is used. OpenSSL 3.5 "   \
      "and later have post-quantum groups: X25519MLKEM768:X25519:P-256.")                          \
    X(tls_ciphers, TEXT, RESTART,                                                                  \
      "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:"                \
      "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                 \
      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                 \
      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305",                                 \
      1, 2048, "",                                                                                 \
      "Ciphers in the order of preference, named as `openssl ciphers` names them: TLS 1.3 "        \
      "ciphers begin with TLS_, TLS 1.2 ciphers have ECDHE with AES-GCM or ChaCha20-Poly1305. A "  \
      "version of TLS without a cipher here is not offered.")                                      \
    X(tls_ticket_keys, PATH, CERTIFICATES, "", 0, 4095, "",                                        \
      "A file of session ticket keys of 80 bytes each, as for nginx (`openssl rand 80`). Nodes "   \
      "with the same file resume each other's sessions, and a restart keeps them. The first key "  \
      "makes new tickets, and each key opens tickets. Only the node's user may read it. Empty: "   \
      "each process makes its own keys.")                                                          \
    X(plain_http, CHOICE, RESTART, "serve", 0, 0, "serve redirect",                                \
      "What clients get at `listen`: serve, or redirect to the https:// public_origin.")           \
    X(public_origin, TEXT, RESTART, "", 0, 255, "",                                                \
      "Scheme and authority that clients see, such as https://media.example. The containers "      \
      "hash: and regex: are compared with URLs of this origin. Empty: https:// and listen_tls, "   \
      "or http:// and listen.")                                                                    \
    X(proxy_protocol_from, TEXT, RESTART, "", 0, 1024, "",                                         \
      "Addresses and prefixes of proxies that begin each connection with a PROXY protocol header " \
      "(version 1 or 2), such as 10.0.0.0/8 2001:db8::/32. A header from any other address is "    \
      "not read.")                                                                                 \
    X(forwarded_from, TEXT, RESTART, "", 0, 1024, "",                                              \
      "Addresses and prefixes of proxies that name the client in the forwarded_field of each "     \
      "request; list only proxies. The client is the rightmost address in the field that is not "  \
      "one of these proxies. Addresses to the left of it are ignored, because the client itself "  \
      "may have written them; so is the field in requests from any other address. Where the "      \
      "field is missing, hides the client (`unknown`, `_name`) or cannot be read, the client is "  \
      "the last proxy that is known. For these clients connections_per_address_max bounds the "    \
      "requests under way instead of the proxy's connections. Both keys may be used together: "    \
      "the header of proxy_protocol_from is read first.")                                          \
    X(forwarded_field, CHOICE, RESTART, "X-Forwarded-For", 0, 0, "X-Forwarded-For Forwarded",      \
      "The field that the proxies of forwarded_from send: X-Forwarded-For or Forwarded (RFC "      \
      "7239). Only this field is read, because the other one may come from the client.")           \
    X(media_root, PATH, RESTART, CONFIG_REQUIRED, 1, 4095, "",                                     \
      "Directory of the files that are served. No file outside it is ever opened.")                \
    X(follow_links, CHOICE, RESTART, "off", 0, 0, "off on",                                        \
      "on: relative symbolic links beneath media_root are followed if every step of the path "     \
      "stays within media_root; absolute ones are not. A shop's link for `prefix:/dir/` then "     \
      "also reaches the targets of the symbolic links in that directory, wherever in media_root "  \
      "they are. off: no symbolic link is followed. `tollgate media scan` names the ones that "    \
      "are skipped.")                                                                              \
    X(state_dir, PATH, RESTART, CONFIG_REQUIRED, 1, 4095, "",                                      \
      "Directory of the journal, the admin socket and the embedded Redis. Each node has one of "   \
      "its own, on a local disk that outlives the machine: what is not in Redis yet is there "     \
      "alone. Back it up.")                                                                        \
    X(journal_archive, PATH, RESTART, "", 0, 4095, "",                                             \
      "Directory to which journal files go that need not stay in state_dir (journal_keep_days), "  \
      "compressed (zstd) and read back before they leave; it must exist, may be on another disk, " \
      "and nodes may share it. Evidence of deliveries and reconciling of older days need it. "     \
      "Empty: these files are removed for good.")                                                  \
    X(node, TEXT, RESTART, "node-1", 1, 32, "",                                                    \
      "Name of this node, [a-z0-9-]. Nodes that share a Redis need different names.")              \
    X(redis, TEXT, RESTART, "embedded", 1, 511, "",                                                \
      "embedded: the node runs a private Redis. Otherwise the address of one: unix:/path, "        \
      "host:port, [::1]:port, redis://host:port, or sentinel:NAME@host:port,host:port, where the " \
      "Sentinels say which Redis is the master NAME. Names are resolved again each 5 s and when "  \
      "a "                                                                                         \
      "connection fails, and each of their addresses is tried.")                                   \
    X(redis_down, CHOICE, RESTART, "wait", 0, 0, "wait continue",                                  \
      "What is answered while the node cannot ask Redis. wait: 503, once what Redis has granted "  \
      "is used up or over. continue: postpaid accounts without max_bytes, which Redis has "        \
      "confirmed to this node and of which nothing was heard since, are served on, within the "    \
      "bounds of redis_down_ms_max, redis_down_bytes_max and redis_down_journal_bytes_max; links " \
      "with max_uses, max_bytes or resume wait all the same. Meanwhile revocations and "           \
      "suspensions are not heard. All that is delivered is billed once Redis is back.")            \
    X(redis_down_ms_max, NUMBER, RESTART, "600000", 100, 600000, "milliseconds",                   \
      "With redis_down: continue, how long the node goes on after it has last heard Redis.")       \
    X(redis_down_bytes_max, NUMBER, RESTART, "10737418240", 1, 9007199254740991, "bytes",          \
      "With redis_down: continue, how many bytes each account gets from this node until Redis is " \
      "asked about it again.")                                                                     \
    X(redis_down_journal_bytes_max, NUMBER, RESTART, "1073741824", 4096, 9007199254740991,         \
      "bytes",                                                                                     \
      "With redis_down: continue, how many bytes of the journal may wait for Redis while the "     \
      "node goes on. A download that moves takes 256 bytes a second.")                             \
    X(redis_user, TEXT, RESTART, "", 0, 255, "",                                                   \
      "Redis user name (ACL). Empty: the default user. Needs redis_password_file.")                \
    X(redis_password_file, PATH, RESTART, "", 0, 4095, "",                                         \
      "File whose first line is the Redis password. Empty: no password.")                          \
    X(sentinel_user, TEXT, RESTART, "", 0, 255, "",                                                \
      "User name (ACL) at the Sentinels, which know nothing of redis_user. Empty: the default "    \
      "user. Needs sentinel_password_file.")                                                       \
    X(sentinel_password_file, PATH, RESTART, "", 0, 4095, "",                                      \
      "File whose first line is the Sentinels' password. Empty: they ask for none.")               \
    X(token_attribute, TEXT, RESTART, "URISigningPackage", 1, 64, "",                              \
      "Name of the URL parameter and of the cookie that carry the token.")                         \
    X(jti_single_use, CHOICE, RESTART, "off", 0, 0, "off strict",                                  \
      "off: a jti names a link, and max_uses limits it. strict: as RFC 9246 has it, a link with "  \
      "a jti is good for one use.")                                                                \
    X(content_type, TEXT, RESTART, "application/octet-stream", 1, 127, "",                         \
      "Content-Type of files whose extension is not in content_types.")                            \
    X(content_types, TEXT, RESTART,                                                                \
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
      "The Content-Type for each extension, in upper or lower case; a table given here replaces "  \
      "the default. Parameters follow without spaces: .txt=text/plain;charset=utf-8. Formats "     \
      "that run scripts in a page (HTML, SVG) are left out; add them where you trust the files.")  \
    X(cors_allow_headers, TEXT, RESTART,                                                           \
      "Authorization, If-Match, If-Modified-Since, If-None-Match, If-Range, "                      \
      "If-Unmodified-Since, Range",                                                                \
      0, 1023, "",                                                                                 \
      "Request fields that pages of an issuer's origins may send (Access-Control-Allow-Headers). " \
      "Empty: only those that browsers always allow.")                                             \
    X(cross_origin_resource_policy, CHOICE, RESTART, "", 0, 0,                                     \
      "same-origin same-site cross-origin",                                                        \
      "Which pages may embed the responses (Cross-Origin-Resource-Policy): same-origin, "          \
      "same-site or cross-origin. Empty: the header is not sent.")                                 \
    X(cache_max_age_s, NUMBER, RESTART, "3600", 0, 31536000, "seconds",                            \
      "How long a client may keep a response in its cache; never past the link's exp.")            \
    X(access_log, PATH, RESTART, "", 0, 4095, "",                                                  \
      "File that gets one line for each response; /dev/stdout works, too. SIGUSR1 reopens it. "    \
      "Empty: no access log.")                                                                     \
    X(access_log_format, CHOICE, RESTART, "json", 0, 0, "json combined",                           \
      "How the lines of access_log look: json is one object per line, combined is the format of "  \
      "Apache and nginx.")                                                                         \
    X(journal_client, CHOICE, RESTART, "prefix", 0, 0, "full prefix none",                         \
      "How much of the client's address the journal keeps of each response: all of it, its /24 "   \
      "(IPv4) or /48 (IPv6), or nothing.")                                                         \
    X(admin_listen, TEXT, RESTART, "", 0, 255, "",                                                 \
      "Where shops reach the admin interface over HTTP with their issuer's secret: an address on " \
      "loopback such as 127.0.0.1:8090, or unix:/path. For shops elsewhere, put a TLS proxy or a " \
      "tunnel before it. Empty: no admin port.")                                                   \
    X(log_level, CHOICE, RESTART, "info", 0, 0, "error warning info debug trace",                  \
      "The node logs messages of this level and of the more severe ones. trace: each step of "     \
      "each "                                                                                      \
      "connection, which is much.")                                                                \
    X(workers, AUTO, RESTART, "0", 0, CONFIG_WORKERS_MAX, "threads",                               \
      "Worker threads. auto (or 0): one per core.")                                                \
    X(connections_max, NUMBER, RESTART, "10000", 1, 1000000, "connections",                        \
      "Connections open at once on the node; further ones are refused.")                           \
    X(connections_per_address_max, NUMBER, RESTART, "0", 0, 1000000, "connections",                \
      "Connections of one address (IPv6: of one /64); further ones are answered 429. 0: no "       \
      "bound, where many clients share an address.")                                               \
    X(failed_checks_max, NUMBER, RESTART, "100", 0, 1000000, "checks",                             \
      "How many links with a wrong signature one address (IPv6: one /64; behind a trusted proxy, " \
      "the client's own) may send at once. Checking one costs twenty times as much as serving a "  \
      "file. Beyond this, links that the node has not verified before are answered 429 without a " \
      "check, and those that it has verified are served. 0: no bound.")                            \
    X(failed_checks_per_minute, NUMBER, RESTART, "60", 1, 60000, "checks per minute",              \
      "How many checks an address that has used up failed_checks_max gets back in each minute.")   \
    X(requests_max, NUMBER, RESTART, "100000", 1, 1000000000, "requests",                          \
      "Requests on one connection, which is closed after the last one is answered.")               \
    X(rate_min_bytes_per_s, NUMBER, RESTART, "1024", 0, 1073741824, "bytes per second",            \
      "While nine tenths of connections_max are open, transfers that were slower than this over "  \
      "5 seconds are cut. Otherwise a player that pauses is left alone.")                          \
    X(head_bytes_max, NUMBER, RESTART, "16384", 1024, 65536, "bytes",                              \
      "The longest head of a request, of 64 fields at most; a longer one is answered 431. The "    \
      "default has room for a request line of 8,000 bytes (RFC 9112 3) beside a browser's "        \
      "fields.")                                                                                   \
    X(head_timeout_ms, NUMBER, RESTART, "10000", 100, 600000, "milliseconds",                      \
      "The whole head of a request must arrive within this time of its first byte.")               \
    X(idle_timeout_ms, NUMBER, RESTART, "60000", 100, 3600000, "milliseconds",                     \
      "A connection without a request is closed after this time.")                                 \
    X(stall_timeout_ms, NUMBER, RESTART, "60000", 100, 3600000, "milliseconds",                    \
      "A transfer is cut when the client has acknowledged nothing for this time.")                 \
    X(ready_grace_ms, NUMBER, RESTART, "10000", 0, 600000, "milliseconds",                         \
      "A node that cannot ask Redis for grants stays ready this long, so that balancers do not "   \
      "turn away from all nodes at once during a failover; who comes all the same is answered.")   \
    X(stop_timeout_ms, NUMBER, RESTART, "30000", 0, 3600000, "milliseconds",                       \
      "After SIGTERM, transfers under way may finish within this time.")                           \
    X(link_lifetime_max_s, NUMBER, RESTART, "604800", 1, 315360000, "seconds",                     \
      "A link whose exp is further away than this is refused.")                                    \
    X(nbf_leeway_s, NUMBER, RESTART, "5", 0, 300, "seconds",                                       \
      "A link is admitted this much before its nbf, for storefronts whose clock runs ahead.")      \
    X(use_window_s, NUMBER, RESTART, "86400", 1, 31536000, "seconds",                              \
      "A use of a link with max_uses is a download: requests within this time of the first one "   \
      "belong to it, until three times the file's size has arrived.")                              \
    X(unacknowledged_max, NUMBER, RESTART, "64", 1, 1000000, "responses",                          \
      "How many responses of a link in each minute (of an account: 16 times as many) may end "     \
      "with less than half of their bytes acknowledged. Beyond that, such a download counts as a " \
      "use of the link, and the next request is answered 429.")                                    \
    X(balance_low_bytes, NUMBER, RESTART, "104857600", 0, 9007199254740991, "bytes",               \
      "When deliveries bring a prepaid balance below this, the event balance_low tells the shop.") \
    X(grant_validity_ms, NUMBER, RESTART, "30000", 100, 600000, "milliseconds",                    \
      "How long bytes reserved from an account stay reserved. This bounds how long a revoked "     \
      "link may go on while Redis cannot be reached.")                                             \
    X(grant_slice_bytes, NUMBER, RESTART, "16777216", 4096, 1099511627776, "bytes",                \
      "How many bytes are reserved from an account beyond what its responses need, so that the "   \
      "next ones need not ask Redis; a quarter of what is left of the account at most.")           \
    X(admission_timeout_ms, NUMBER, RESTART, "2000", 10, 60000, "milliseconds",                    \
      "How long Redis may take to answer an admission; after that the client is answered 503.")    \
    X(tokens_max, NUMBER, RESTART, "16384", 16, 16777216, "tokens per worker",                     \
      "Verified tokens that a worker remembers.")                                                  \
    X(open_files_max, NUMBER, RESTART, "1024", 1, 1000000, "files per worker",                     \
      "Files that a worker keeps open; those of up to 16 KiB also in memory.")                     \
    X(revalidate_ms, NUMBER, RESTART, "1000", 0, 3600000, "milliseconds",                          \
      "How long an open file is used before it is compared with the one on disk again.")           \
    X(hash_wait_ms, NUMBER, RESTART, "3000", 0, 60000, "milliseconds",                             \
      "How long a request with an entity tag waits for a file that is not hashed yet. After "      \
      "that, or while 64 requests of the node already wait, the tag counts as one that does not "  \
      "match, and If-Match is answered 503.")                                                      \
    X(hash_entries_max, NUMBER, RESTART, "1000000", 1, 4294967295, "files",                        \
      "Content hashes that are remembered.")                                                       \
    X(windows_max, NUMBER, RESTART, "32768", 1, 16777216, "downloads",                             \
      "Downloads open at once on the node.")                                                       \
    X(accounts_max, NUMBER, RESTART, "1000000", 1, 100000000, "accounts",                          \
      "How many accounts the node's journal may hold. Beyond this, new accounts are refused. "     \
      "Accounts in the journal are always loaded; accounts that other nodes opened are added "     \
      "when they are used.")                                                                       \
    X(accounts_per_issuer_max, AUTO, RESTART, "0", 0, 100000000, "accounts",                       \
      "How many accounts of one issuer the node's journal may hold. auto (or 0): accounts_max "    \
      "divided by the number of issuers, so that a shop that opens accounts without end leaves "   \
      "every other shop its share.")                                                               \
    X(journal_segment_bytes, NUMBER, RESTART, "67108864", 65536, 4294967296, "bytes",              \
      "Size of one journal file; a multiple of 4096.")                                             \
    X(journal_keep_days, NUMBER, RESTART, "30", 0, 36500, "days",                                  \
      "How long a journal file stays in state_dir once Redis has all of it and two checkpoints "   \
      "cover it. A backup of Redis that is older than that must not be restored: empty Redis "     \
      "instead. A month covers monthly backups, and the reconciling of a month's bill. 0: "        \
      "whatever its age.")                                                                         \
    X(journal_keep_bytes, NUMBER, RESTART, "0", 0, 9007199254740991, "bytes",                      \
      "Such a file goes sooner where the records behind it take this many bytes; with it, fewer "  \
      "days of backups may be restored. A download that moves takes 256 bytes a second. 0: no "    \
      "such bound. Where both keys are 0, no file is ever removed.")                               \
    X(journal_archive_keep_days, NUMBER, RESTART, "550", 0, 36500, "days",                         \
      "How long they stay in journal_archive after their last record. The longest dispute of a "   \
      "card "                                                                                      \
      "payment is open for 540 days, and ten more are left to answer it. 0: for good.")            \
    X(journal_mark_ms, NUMBER, RESTART, "800", 10, 1000, "milliseconds",                           \
      "How often the bytes of running downloads are written to the journal. A node that is "       \
      "killed bills nothing of this long and of up to 150 ms more.")                               \
    X(post_interval_ms, NUMBER, RESTART, "10000", 100, 60000, "milliseconds",                      \
      "How often the usage of an account is posted from the journal to Redis; sooner where a "     \
      "download ends, where the balance soon ends, and where somebody asks. Operations are "       \
      "posted at once.")                                                                           \
    X(data_lost_wait_ms, NUMBER, RESTART, "15000", 0, 3600000, "milliseconds",                     \
      "How long a node waits, after Redis has lost its data, for the other nodes that it saw "     \
      "there to replay their journals. Meanwhile unknown accounts, want of funds and orders are "  \
      "answered 503, and no more funds are granted.")

/*
 * The keys of an entry of `issuers`. The types are TEXT, PATH and NUMBER as above, and LIST: a
 * sequence of strings, whose count is bounded by minimum and maximum.
 *
 * X(name, type, reload, minimum, maximum, help)
 */
#define CONFIG_ISSUER_KEYS(X)                                                                      \
    X(id, TEXT, RESTART, 1, 32, "Short name, [a-z0-9-]; accounts are called ID/NAME.")             \
    X(iss, TEXT, RESTART, 1, 128, "The value of the iss claim in the tokens that it signs.")       \
    X(keys, PATH, KEY_SETS, 1, 4095,                                                               \
      "Its key set, a JWKS file; `tollgate key generate` makes one.")                              \
    X(prefixes, LIST, RESTART, 1, 64,                                                              \
      "Paths that it may sign for; each starts and ends with a slash.")                            \
    X(audiences, LIST, RESTART, 0, 16,                                                             \
      "Values of aud that name this service. Empty: tokens have no aud.")                          \
    X(origins, LIST, RESTART, 0, 16,                                                               \
      "Origins of web pages that may fetch by script (CORS): https://shop.example, or \"*\".")     \
    X(refusal_url, TEXT, RESTART, 0, 1024,                                                         \
      "The page to which a browser is sent when its link is refused, with reason=NAME added. "     \
      "Empty: the node answers with a page of its own.")                                           \
    X(resume_s, NUMBER, RESTART, 0, 315360000,                                                     \
      "For links without the claim resume: how many seconds after exp a download that began "      \
      "before exp may continue with range requests; link_lifetime_max_s at most. 0: none.")        \
    X(admin_secret_file, PATH, SECRETS, 0, 4095,                                                   \
      "File with the bearer secrets of this issuer's shop for admin_listen, one per line, each "   \
      "of 32 characters or more. Empty: the shop has no access, and gets no events.")

#define CONFIG_ISSUERS_MAX 1024

#endif
