#!/bin/sh
# One dialect: what clang-format cannot hold. Prints each place that breaks a rule, and exits 1 where there is one.
set -u
cd "$(dirname "$0")/.." || exit 70

sources=$(find server tokens storage bench tests -name '*.[ch]')
found=0

# refuse WHY PATTERN [LESS]: lines with the extended regular expression PATTERN, less those with LESS.
refuse() {
    # shellcheck disable=SC2086 # names of ours, without spaces
    lines=$(grep -nE "$2" $sources | grep -vE "${3:-^$}")
    [ -z "$lines" ] && return
    printf '%s:\n%s\n' "$1" "$lines"
    found=1
}

refuse 'sizeof(x) has parentheses' 'sizeof [^(]'
refuse 'check() holds in every build type; assert() does not' '(^|[^_a-zA-Z"])assert\(|<assert\.h>'
refuse 'strerrordesc_np() is thread-safe and untranslated; strerror() is neither' '(^|[^_a-z])strerror\('
refuse 'a section is /* ---- name ---- */ on one line' '^/\* ?---' '/\* ---- .* ---- \*/$'
refuse 'an #include has the whole path' '#include "[^/"]*"' '#include "[a-z_]*_(json|lua)\.h"'

lines=$(grep -nE '(args|keys)(\[|, *)[0-9]' storage/ledger/functions/*.lua)
[ -z "$lines" ] || { printf 'a key or an argument has a name in storage/ledger/redis_table.h:\n%s\n' "$lines"; found=1; }

for source in $sources; do
    [ "$(head -n 1 "$source")" = '/* SPDX-License-Identifier: Apache-2.0 */' ] ||
        { echo "$source: its first line names the licence: /* SPDX-License-Identifier: Apache-2.0 */"; found=1; }
    header=${source%.c}.h
    [ "$header" = "$source" ] || [ ! -f "$header" ] || ! grep -q "#include \"$header\"" "$source" ||
        [ "$(grep -m 1 '#include' "$source")" = "#include \"$header\"" ] ||
        { echo "$source: its own header comes first"; found=1; }
done
exit "$found"
