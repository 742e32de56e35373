/* SPDX-License-Identifier: GPL-2.0 */
/* Memory that is kept until the command ends. No function here returns NULL: without memory the command exits. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

/* Keep memory that was allocated elsewhere; exits if it is NULL, because then the allocation failed. */
void *keep_memory(void *memory);
/* Zeroed memory for @n elements. */
void *allocate(size_t n, size_t size);
/* A copy of @array, which has @n elements and may be NULL, with room for @more, zeroed. */
void *enlarged(const void *array, size_t n, size_t more, size_t size);

#endif
