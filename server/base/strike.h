/*
 * What of a text may be a token, for both logs: what they strike out is told here alone. Any
 * thread, once the name is set.
 */
#ifndef TOLLGATE_SERVER_BASE_STRIKE_H
#define TOLLGATE_SERVER_BASE_STRIKE_H

#include <stddef.h>

#define STRIKE_TEXT "[token]" /* stands in its place */

/* The token_attribute, where it is not the default, which is struck in any case. Before any other
 * thread; what is longer than a configuration may have is cut. */
void strike_name_set(const char *name);
/*
 * How many bytes from `at` are to be struck, 0: none. `begin` is where the text begins: what stands
 * before `at` tells whether it is the value of such a name, whatever it looks like. Else it is
 * struck where it looks like a JWS.
 */
size_t strike_length(const char *begin, const char *at, const char *end);

#endif
