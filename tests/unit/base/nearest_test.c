/* SPDX-License-Identifier: Apache-2.0 */
/* The name that is proposed to somebody who mistyped one. Nothing is run here. */
#include <criterion/criterion.h>

#include "server/base/nearest.h"

Test(nearest, the_nearest_name_is_near)
{
    static const char *const names[] = {"listen", "workers", "redis"};
    cr_expect_str_eq(nearest_name("lisetn", names, 3), "listen");
    cr_expect_str_eq(nearest_name("worker", names, 3), "workers");
    cr_expect_null(nearest_name("banana", names, 3));
    cr_expect_null(nearest_name("", names, 3));
}
