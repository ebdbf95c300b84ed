# What image.sh and package.sh share. They source it. It makes a working directory `$work`, removed at the end along
# with the buildah containers in `$containers`, and the base image, which is made once.
. tests/debian.sh
base=localhost/debian:bookworm-slim
work=$(mktemp -d)
containers=
node= # an unshare --pid; killing its child ends the whole namespace
export BUILDAH_ISOLATION=chroot

clean_up() {
    [ -z "$node" ] || pkill -KILL -P "$node" || true
    for container in $containers; do
        buildah umount "$container" >/dev/null 2>&1 || true
        buildah rm "$container" >/dev/null 2>&1 || true
    done
    rm -rf "$work"
}
trap clean_up EXIT

make_base() {
    buildah inspect --type image "$base" >/dev/null 2>&1 && return
    step "making the base by debootstrap"
    make_debian "$work/base" >"$work/log" 2>&1 || { tail "$work/log" >&2; fail debootstrap; }
    tar -C "$work/base" -cf "$work/base.tar" .
    rm -rf "$work/base"
    scratch=$(buildah from scratch)
    containers="$containers $scratch"
    buildah add -q "$scratch" "$work/base.tar" / >/dev/null
    buildah commit -q "$scratch" "$base" >/dev/null
    rm "$work/base.tar"
}
