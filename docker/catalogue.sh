#!/bin/sh
# Makes a small catalogue of real MP3 files in DIRECTORY: synthesised sound through lame, with ID3
# tags, CBR and VBR, a few kilobytes to several megabytes, names with spaces and UTF-8. docker/demo.sh
# serves it and the integration tests download it. It never fetches anything, and makes no file again
# that is there already.
#
#   sh docker/catalogue.sh DIRECTORY
set -eu
LC_ALL=C # awk writes bytes, not characters
export LC_ALL

case ${1:-} in
'')
    echo 'catalogue.sh: where to? name the directory to fill: sh docker/catalogue.sh DIRECTORY' >&2
    exit 64
    ;;
-h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
-*) echo "catalogue.sh: unknown option '$1'; it takes a directory: sh docker/catalogue.sh DIRECTORY" >&2; exit 64 ;;
esac
root=$1
recipe=1 # raised when the list below changes, so that an older catalogue is made again
stamp=$root/../catalogue.$(basename "$root").done
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$recipe" ]; then exit 0; fi
command -v lame >/dev/null || {
    echo "catalogue.sh: lame is missing; run: sh docker/deps.sh demo" >&2
    exit 69
}
mkdir -p "$root" || {
    echo "catalogue.sh: $root cannot be made; name a directory that you may write" >&2
    exit 73
}

# Unsigned 8-bit mono samples: a melody of three partials over a little noise, so that no two
# stretches of the encoded file are alike (a range test must not pass on the wrong bytes).
sound() { # SECONDS SAMPLES_PER_S SEED
    awk -v seconds="$1" -v rate="$2" -v seed="$3" 'BEGIN {
        size = 1024
        for (i = 0; i < size; i++) wave[i] = 42 * sin(6.283185307 * i / size)
        for (i = 1; i < 256; i++) byte[i] = sprintf("%c", i)
        total = int(seconds * rate); note = int(rate / 5); noise = seed
        for (n = 0; n < total; n++) {
            if (n % note == 0) {
                noise = (noise * 1103 + 12347) % 65521
                step = 110 * exp(log(2) * (noise % 25) / 12) * size / rate
            }
            noise = (noise * 1103 + 12347) % 65521
            a += step; if (a >= size) a -= size
            b += step * 1.5; if (b >= size) b -= size
            value = 128 + wave[int(a)] + wave[int(b)] * 0.6 + noise / 2048 - 16
            printf "%s", byte[int(value)]
        }
    }'
}

# Encodes standard input to a file that is renamed into place when whole, so that an interrupted run leaves no part.
track() { # NAME TITLE ARTIST ALBUM SECONDS SAMPLES_PER_S SEED LAME_OPTION...
    name=$1 title=$2 artist=$3 album=$4 seconds=$5 rate=$6 seed=$7
    shift 7
    [ -s "$root/$name" ] && [ -e "$stamp" ] && return 0
    mkdir -p "$(dirname "$root/$name")"
    part=$root/.track.$$.$seed
    sound "$seconds" "$rate" "$seed" |
        lame --quiet -r -s "$rate" --bitwidth 8 --unsigned -m m "$@" --id3v2-only \
            --tt "$title" --ta "$artist" --tl "$album" --ty 2026 - "$part" 2>"$part.log" &&
        mv "$part" "$root/$name" || cat "$part.log" >&2 # lame warns about -r even when all is well
    rm -f "$part.log"
}

rm -f "$stamp"
track 'jingle.mp3' 'Jingle' 'Tollgate' 'Demo' 0.2 44100 7 -q 7 -b 64 --cbr &
track 'Café/01 – 100% #1.mp3' 'One hundred percent' 'The Café' 'Menu' 30 44100 11 -q 7 -V 4 &
track 'albums/Night Train/01 First Light.mp3' 'First Light' 'Night Train' 'Departures' 40 44100 13 -q 7 -b 192 --cbr
wait
track 'podcast/episode 1.mp3' 'Episode 1' 'The Gatekeepers' 'Season 1' 120 22050 19 -q 7 -b 64 --cbr &
track 'albums/Night Train/02 Long Way Home.mp3' 'Long Way Home' 'Night Train' 'Departures' 125 44100 17 -q 7 -b 320 --cbr
wait
for name in 'jingle.mp3' 'Café/01 – 100% #1.mp3' 'albums/Night Train/01 First Light.mp3' \
    'albums/Night Train/02 Long Way Home.mp3' 'podcast/episode 1.mp3'; do
    [ -s "$root/$name" ] || {
        echo "catalogue.sh: lame did not write '$name' into $root" >&2
        exit 70
    }
done
echo "$recipe" >"$stamp"
