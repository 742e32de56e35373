// SPDX-License-Identifier: GPL-2.0
/* Memory. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"

struct kept {
	struct kept *next;
	void *memory;
};

void *keep_memory(void *memory)
{
	/* One list that is never emptied: all of it is in use until the end */
	static struct kept *all;
	struct kept *entry = malloc(sizeof(*entry));

	if (!memory || !entry)
		die(STATUS_CANNOT, NULL, "no memory");
	entry->memory = memory;
	entry->next = all;
	all = entry;
	return memory;
}

void *allocate(size_t n, size_t size)
{
	return keep_memory(calloc(n, size));
}

void *enlarged(const void *array, size_t n, size_t more, size_t size)
{
	void *all = allocate(n + more, size);

	if (n)
		memcpy(all, array, n * size);
	return all;
}
