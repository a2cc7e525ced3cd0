// SPDX-License-Identifier: Apache-2.0
/* Makes system calls from inside a container: call NUMBER [ARGUMENT...] ...
 *
 * Each word of the command line is one call, its number and up to five arguments with commas between them. `s` is the
 * address of a page of zeroes. For each one a line is printed: the number and the result. A process that `clone` makes
 * ends at once. */

#include "../../../../pause/system.h"

#if defined(__x86_64__)
enum { SYS_write = 1 };
#else
enum { SYS_write = 64 };
#endif

static char zeroes[4096];

static void print(long number, char after)
{
	char text[24], *at = text + sizeof(text);
	int is_negative = number < 0;

	*--at = after;
	do
		*--at = '0' + (is_negative ? -(number % 10) : number % 10);
	while ((number /= 10) != 0);
	if (is_negative)
		*--at = '-';
	syscall5(SYS_write, 1, (long)at, text + sizeof(text) - at, 0, 0);
}

static void make(const char *word)
{
	long values[6] = { 0 }, result;

	for (int i = 0; i < 6 && *word; i++) {
		int is_negative = *word == '-';

		for (word += is_negative; *word && *word != ','; word++)
			values[i] = *word == 's' ? (long)zeroes : values[i] * 10 + (*word - '0');
		if (is_negative)
			values[i] = -values[i];
		word += *word == ',';
	}
	print(values[0], ' ');
	result = syscall5(values[0], values[1], values[2], values[3], values[4], values[5]);
	if (values[0] == SYS_clone && !result)
		syscall5(SYS_exit, 0, 0, 0, 0, 0);
	print(result, '\n');
}

__attribute__((used)) void run(long *stack)
{
	for (char **word = (char **)(stack + 2); *word; word++)
		make(*word);
	syscall5(SYS_exit, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall run\n");
#else
__asm__(".globl _start\n_start:\n\tmov x0, sp\n\tb run\n");
#endif
