// SPDX-License-Identifier: Apache-2.0
/* The init process of a container that asks for one: starts the program, passes signals on to it, reaps
 * orphans, and ends with the program's status.
 *
 *   init [-s] [-i] -- PROGRAM [ARGUMENT...]
 *
 * -s  stay as the init process (without it the program replaces this process)
 * -i  keep the standard input open without a writer
 *
 * Freestanding (no libc): it is mounted into unknown file systems. */

#include "system.h"

enum { PATH_MAX = 4096, NO_ENTRY = -2, NOT_A_DIRECTORY = -20, SET_SUBREAPER = 36 };

static long length(const char *text)
{
	long n = 0;

	while (text[n])
		n++;
	return n;
}

static int starts(const char *text, const char *with)
{
	while (*with)
		if (*text++ != *with++)
			return 0;
	return 1;
}

static void end(int code)
{
	syscall5(SYS_exit, code, 0, 0, 0, 0);
	__builtin_unreachable();
}

static long execute(const char *path, char **argv, char **environment)
{
	return syscall5(SYS_execve, (long)path, (long)argv, (long)environment, 0, 0);
}

/* As execvp(3): a name without a slash is searched in PATH. Returns only when that failed. */
static long execute_found(char **argv, char **environment)
{
	static char path[PATH_MAX];
	const char *name = argv[0], *search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	long failed = NO_ENTRY;

	for (const char *c = name; *c; c++)
		if (*c == '/')
			return execute(name, argv, environment);
	for (char **entry = environment; *entry; entry++)
		if (starts(*entry, "PATH="))
			search = *entry + 5;
	for (;;) {
		long n = 0;

		while (*search && *search != ':' && n < PATH_MAX / 2)
			path[n++] = *search++;
		if (n == 0)
			path[n++] = '.';
		path[n++] = '/';
		if (n + length(name) < PATH_MAX) {
			long result;

			for (long at = 0; at <= length(name); at++)
				path[n + at] = name[at];
			result = execute(path, argv, environment);
			if (result != NO_ENTRY && result != NOT_A_DIRECTORY)
				failed = result;
		}
		if (*search != ':')
			return failed;
		search++;
	}
}

/* 127: not found; 126: found, and not to be run. As in a shell. */
static void become(char **argv, char **environment)
{
	end(execute_found(argv, environment) == NO_ENTRY ? 127 : 126);
}

/* The reading end of a pipe whose writing end stays open in this process. */
static void hold_input(void)
{
	int ends[2];

	if (syscall5(SYS_pipe2, (long)ends, 0, 0, 0, 0) < 0)
		end(125);
	syscall5(SYS_dup3, ends[0], 0, 0, 0, 0);
	syscall5(SYS_close, ends[0], 0, 0, 0, 0);
}

/* All signals are blocked and waited for: so they reach the first process of a namespace, and none is lost. */
static void stay(char **argv, char **environment)
{
	unsigned long all = ~0UL, none = 0;
	int status = 0;
	long child;

	syscall5(SYS_prctl, SET_SUBREAPER, 1, 0, 0, 0);
	syscall5(SYS_rt_sigprocmask, BLOCK, (long)&all, 0, SET_BYTES, 0);
	child = syscall5(SYS_clone, SIGNAL_CHILD, 0, 0, 0, 0);
	if (child < 0)
		end(125);
	if (child == 0) {
		syscall5(SYS_rt_sigprocmask, SET, (long)&none, 0, SET_BYTES, 0);
		become(argv, environment);
	}
	for (;;) {
		long signal = syscall5(SYS_rt_sigtimedwait, (long)&all, 0, 0, SET_BYTES, 0), ended;

		if (signal > 0 && signal != SIGNAL_CHILD)
			syscall5(SYS_kill, child, signal, 0, 0, 0);
		while ((ended = syscall5(SYS_wait4, -1, (long)&status, NO_HANG, 0, 0)) > 0)
			if (ended == child)
				end(status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff);
	}
}

__attribute__((used)) static void start(long *stack)
{
	char **argv = (char **)(stack + 1), **environment = argv + *stack + 1;
	int stays = 0;

	for (argv++; *argv && starts(*argv, "-"); argv++) {
		if (starts(*argv, "--")) {
			argv++;
			break;
		}
		if (starts(*argv, "-s"))
			stays = 1;
		if (starts(*argv, "-i"))
			hold_input();
	}
	if (!*argv)
		end(125);
	if (stays)
		stay(argv, environment);
	become(argv, environment);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tbl start\n");
#endif
