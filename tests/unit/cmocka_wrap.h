/* cmocka_wrap.h - cmocka with what must be included before it. */
#ifndef TESTS_UNIT_CMOCKA_WRAP_H
#define TESTS_UNIT_CMOCKA_WRAP_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#endif
