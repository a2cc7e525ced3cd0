// SPDX-License-Identifier: Apache-2.0
/* The pause container: holds a task's namespaces open, reaps orphans, ends on SIGTERM or SIGINT. It waits for a
 * byte on its input, which its runtime sends once the process is recorded; if the runtime dies before, no process remains.
 *
 * Containers may share its process namespace, where it is process 1. It has its own user, cannot be
 * inspected, and can only wait, reap and end (ADR 21).
 *
 * Freestanding (no libc), so that the program is a few hundred bytes and needs no file of its root file system. */

#include "system.h"
#include "filter.h"

static void end(int code)
{
	syscall5(SYS_exit, code, 0, 0, 0, 0);
	__builtin_unreachable();
}

/* The only calls from here on; any other one ends the program. */
static void confine(void)
{
	static const struct instruction program[] = {
		LOAD(ARCHITECTURE_AT),
		IF_EQUAL(ARCHITECTURE, 1, 0),
		ANSWER(KILL_PROCESS),
		LOAD(NUMBER_AT),
		IF_EQUAL(SYS_rt_sigtimedwait, 3, 0),
		IF_EQUAL(SYS_wait4, 2, 0),
		IF_EQUAL(SYS_exit, 1, 0),
		ANSWER(KILL_PROCESS),
		ANSWER(ALLOW),
	};
	const struct filter filter = { sizeof(program) / sizeof(program[0]), program };

	if (syscall5(SYS_prctl, SET_DUMPABLE, 0, 0, 0, 0) < 0)
		end(1);
	if (syscall5(SYS_prctl, SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) < 0)
		end(1);
	if (syscall5(SYS_prctl, SET_SECCOMP, MODE_FILTER, (long)&filter, 0, 0) < 0)
		end(1);
}

/* Signals are blocked and waited for: a blocked signal reaches process 1 of a namespace even without a handler. */
void _start(void)
{
	unsigned long set = 1UL << (SIGNAL_INT - 1) | 1UL << (SIGNAL_TERM - 1) | 1UL << (SIGNAL_CHILD - 1);
	char byte;

	if (syscall5(SYS_read, 0, (long)&byte, 1, 0, 0) != 1)
		end(1);
	syscall5(SYS_close, 0, 0, 0, 0, 0);
	/* Closes files that the shim left open for its children, including its own sockets. */
	syscall5(SYS_close_range, 3, ~0U, 0, 0, 0);
	syscall5(SYS_rt_sigprocmask, BLOCK, (long)&set, 0, SET_BYTES, 0);
	confine();
	for (;;) {
		long signal = syscall5(SYS_rt_sigtimedwait, (long)&set, 0, 0, SET_BYTES, 0);

		if (signal == SIGNAL_INT || signal == SIGNAL_TERM)
			break;
		while (syscall5(SYS_wait4, -1, 0, NO_HANG, 0, 0) > 0)
			;
	}
	end(0);
}
