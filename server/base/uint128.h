/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the products of two numbers of 64 bits. ISO C has no such type; each compiler that builds this
 * has, on 64-bit processors.
 */
#ifndef TOLLGATE_SERVER_BASE_UINT128_H
#define TOLLGATE_SERVER_BASE_UINT128_H

__extension__ typedef unsigned __int128 uint128;

#endif
