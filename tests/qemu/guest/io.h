/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How guests talk with tests/qemu/drive.c: lines go out through the debug console, one byte comes in on COM1.
 *
 *   ok TEXT, not ok TEXT    a check
 *   say TEXT                a remark
 *   wait PLACE              the guest continues when it gets a byte
 *   end                     the last line
 */
#include <stdint.h>

#define DEBUG_CONSOLE 0xe9
#define COM1	      0x3f8

#define LINE 128

struct line {
	char text[LINE];
	unsigned int size;
};

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	asm volatile("inb %w1, %b0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void add_text(struct line *line, const char *text)
{
	while (*text && line->size < LINE - 1)
		line->text[line->size++] = *text++;
}

static inline void add_number(struct line *line, uint64_t number)
{
	char digits[20];
	int n = 0;

	do {
		digits[n++] = '0' + number % 10;
		number /= 10;
	} while (number);
	while (n && line->size < LINE - 1)
		line->text[line->size++] = digits[--n];
}

static inline void add_hex(struct line *line, uint64_t number)
{
	int shift = 60;

	add_text(line, "0x");
	while (shift && !(number >> shift))
		shift -= 4;
	for (; shift >= 0 && line->size < LINE - 1; shift -= 4)
		line->text[line->size++] = "0123456789abcdef"[number >> shift & 15];
}

/* A whole line at once: one VM exit for each line, not for each character. One CPU at a time */
static inline void send_line(struct line *line)
{
	static volatile uint8_t taken;
	const char *from = line->text;
	unsigned long count;

	line->text[line->size++] = '\n';
	count = line->size;
	while (__atomic_test_and_set(&taken, __ATOMIC_ACQUIRE))
		asm volatile("pause");
	asm volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(DEBUG_CONSOLE) : "memory");
	__atomic_clear(&taken, __ATOMIC_RELEASE);
	line->size = 0;
}

static inline void tell(const char *what, const char *text)
{
	struct line line = { .size = 0 };

	add_text(&line, what);
	add_text(&line, text);
	send_line(&line);
}

static inline void check(int good, const char *text)
{
	tell(good ? "ok " : "not ok ", text);
}

static inline int byte_came(void)
{
	if (!(in8(COM1 + 5) & 1))
		return 0;
	in8(COM1);
	return 1;
}
