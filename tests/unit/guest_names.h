/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included before anything else in guest/ for the native tests: the guest library's names of
 * the C library get a prefix, so that both can be in one program and be compared.
 */
#ifndef MAYFLY_TESTS_GUEST_NAMES_H
#define MAYFLY_TESTS_GUEST_NAMES_H

#define memcpy guest_memcpy
#define mempcpy guest_mempcpy
#define memmove guest_memmove
#define memset guest_memset
#define memcmp guest_memcmp
#define bcmp guest_bcmp
#define bzero guest_bzero
#define explicit_bzero guest_explicit_bzero
#define memccpy guest_memccpy
#define memchr guest_memchr
#define memrchr guest_memrchr
#define rawmemchr guest_rawmemchr
#define memmem guest_memmem
#define strchr guest_strchr
#define strrchr guest_strrchr
#define strchrnul guest_strchrnul
#define strstr guest_strstr
#define strpbrk guest_strpbrk
#define strlen guest_strlen
#define strnlen guest_strnlen
#define strcmp guest_strcmp
#define strncmp guest_strncmp
#define strcasecmp guest_strcasecmp
#define strncasecmp guest_strncasecmp
#define strcpy guest_strcpy
#define stpcpy guest_stpcpy
#define strncpy guest_strncpy
#define stpncpy guest_stpncpy
#define strcat guest_strcat
#define strncat guest_strncat
#define strspn guest_strspn
#define strcspn guest_strcspn
#define strsep guest_strsep
#define strtok_r guest_strtok_r
#define strdup guest_strdup
#define strndup guest_strndup
#define malloc guest_malloc
#define calloc guest_calloc
#define realloc guest_realloc
#define reallocarray guest_reallocarray
#define free guest_free
#define aligned_alloc guest_aligned_alloc
#define posix_memalign guest_posix_memalign
#define malloc_usable_size guest_malloc_usable_size
#define strtol guest_strtol
#define strtoul guest_strtoul
#define strtoll guest_strtoll
#define strtoull guest_strtoull
#define atoi guest_atoi
#define atol guest_atol
#define atoll guest_atoll
#define abs guest_abs
#define labs guest_labs
#define llabs guest_llabs
#define qsort guest_qsort
#define bsearch guest_bsearch
#define isalnum guest_isalnum
#define isalpha guest_isalpha
#define isblank guest_isblank
#define iscntrl guest_iscntrl
#define isdigit guest_isdigit
#define isgraph guest_isgraph
#define islower guest_islower
#define isprint guest_isprint
#define ispunct guest_ispunct
#define isspace guest_isspace
#define isupper guest_isupper
#define isxdigit guest_isxdigit
#define tolower guest_tolower
#define toupper guest_toupper
#define printf guest_printf
#define vprintf guest_vprintf
#define puts guest_puts
#define putchar guest_putchar
#define sprintf guest_sprintf
#define vsprintf guest_vsprintf
#define snprintf guest_snprintf
#define vsnprintf guest_vsnprintf
#define abort guest_abort
#define __assert_fail guest_assert_fail
#define __stack_chk_fail guest_stack_chk_fail
#define __errno_location guest_errno_location
#define __ctype_b_loc guest_ctype_b_loc
#define __ctype_tolower_loc guest_ctype_tolower_loc
#define __ctype_toupper_loc guest_ctype_toupper_loc

#endif
