/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/types.h>
#include <errno.h>
#include <stdint.h>

size_t stub_read_user(void *to, const void *from, size_t size);
size_t stub_write_user(void *to, const void *from, size_t size);

/* The window in which user memory is read by unsafe_get_user(). */
bool stub_begin(const void *from, size_t size);
void stub_end(void);

#define user_read_access_begin(from, size) stub_begin(from, size)
#define user_read_access_end()		   stub_end()
#define unsafe_get_user(variable, from, label)                     \
	do {                                                       \
		__typeof__(*(from)) value_;                        \
		if (stub_read_user(&value_, from, sizeof(value_))) \
			goto label;                                \
		(variable) = value_;                               \
	} while (0)

#define u64_to_user_ptr(address)       ((void *)(uintptr_t)(address))
#define copy_from_user(to, from, size) stub_read_user(to, from, size)

/* Like the kernel's: all or nothing, and zero after a fault. */
#define get_user(variable, from)                                                          \
	({                                                                                \
		__typeof__(*(from)) value_;                                               \
		int error_ = stub_read_user(&value_, from, sizeof(value_)) ? -EFAULT : 0; \
		(variable) = error_ ? 0 : value_;                                         \
		error_;                                                                   \
	})

#define put_user(value, to)                                                 \
	({                                                                  \
		__typeof__(*(to)) value_ = (value);                         \
		stub_write_user(to, &value_, sizeof(value_)) ? -EFAULT : 0; \
	})
