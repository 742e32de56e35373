/* SPDX-License-Identifier: GPL-2.0 */
/* Memory that is kept until the command ends. No function here returns NULL: without memory the command exits. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

/* Keep memory that was allocated elsewhere; NULL exits, as then there was none. */
void *kept(void *memory);

#endif
