# Makes a bare Debian 12 from the mirror of this machine's apt. bare.sh and container.sh source it.
# shellcheck shell=sh

# debian_sources: prints sources.list for Debian 12 and its updates, as apt itself reads its configuration.
debian_sources() {
    # shellcheck disable=SC2016 # apt-get expands it
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk '$2 ~ /^bookworm(-updates|-security)?$/ && $3 == "main" { print "deb", $1, $2, $3 }' | sort -u
}

# debian_network: prints apt's settings for the way to the mirror: proxies, certificates, the check of dates.
debian_network() {
    apt-config dump | grep -E '^Acquire::(http|https|Check-|Max-ValidTime|Min-ValidTime|Retries|ForceIPv)'
}

# make_debian DIRECTORY: makes debootstrap's minbase. If the environment has no proxy, debootstrap gets apt's.
make_debian() {
    mirror=$(debian_sources | awk '$3 == "bookworm" { print $2; exit }')
    [ -n "$mirror" ] || { echo "apt has no mirror of Debian 12 (bookworm, main) here; add one to /etc/apt/sources.list" >&2; return 1; }
    for scheme in http https; do
        proxy=$(apt-config shell proxy "Acquire::$scheme::Proxy" | sed -n "s/^proxy='\(.*\)'$/\1/p")
        eval "has=\${${scheme}_proxy:-}"
        # shellcheck disable=SC2154 # eval sets it
        if [ -n "$proxy" ] && [ "$proxy" != DIRECT ] && [ -z "$has" ]; then export "${scheme}_proxy=$proxy"; fi
    done
    debootstrap --variant=minbase bookworm "$1" "$mirror"
}
