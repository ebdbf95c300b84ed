/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows for tables of the 256 octets, and the hexadecimal digits. ISO C names each octet of a range
 * in an initializer, so the ranges that parsers share are spelled out here, once.
 */
#ifndef TOLLGATE_SERVER_BASE_OCTETS_H
#define TOLLGATE_SERVER_BASE_OCTETS_H

/* clang-format off */
#define OCTETS_DIGITS(value)                                                                       \
    ['0'] = (value), ['1'] = (value), ['2'] = (value), ['3'] = (value), ['4'] = (value),           \
    ['5'] = (value), ['6'] = (value), ['7'] = (value), ['8'] = (value), ['9'] = (value)
#define OCTETS_UPPER(value)                                                                        \
    ['A'] = (value), ['B'] = (value), ['C'] = (value), ['D'] = (value), ['E'] = (value),           \
    ['F'] = (value), ['G'] = (value), ['H'] = (value), ['I'] = (value), ['J'] = (value),           \
    ['K'] = (value), ['L'] = (value), ['M'] = (value), ['N'] = (value), ['O'] = (value),           \
    ['P'] = (value), ['Q'] = (value), ['R'] = (value), ['S'] = (value), ['T'] = (value),           \
    ['U'] = (value), ['V'] = (value), ['W'] = (value), ['X'] = (value), ['Y'] = (value),           \
    ['Z'] = (value)
#define OCTETS_LOWER(value)                                                                        \
    ['a'] = (value), ['b'] = (value), ['c'] = (value), ['d'] = (value), ['e'] = (value),           \
    ['f'] = (value), ['g'] = (value), ['h'] = (value), ['i'] = (value), ['j'] = (value),           \
    ['k'] = (value), ['l'] = (value), ['m'] = (value), ['n'] = (value), ['o'] = (value),           \
    ['p'] = (value), ['q'] = (value), ['r'] = (value), ['s'] = (value), ['t'] = (value),           \
    ['u'] = (value), ['v'] = (value), ['w'] = (value), ['x'] = (value), ['y'] = (value),           \
    ['z'] = (value)
/* clang-format on */

/* The value of a hexadecimal digit of either case; -1: it is none. */
static inline int octet_hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

#endif
