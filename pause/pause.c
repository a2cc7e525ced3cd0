/* The pause container: holds a task's namespaces open, reaps orphans, ends on SIGTERM or SIGINT. Its runtime lets it go on
 * with a byte on its input once the process is noted; a runtime that died before leaves nothing behind.
 *
 * Freestanding (no libc), so that the program is a few hundred bytes and needs nothing from its root file system. */

#include "system.h"

/* Signals are blocked and waited for: a blocked signal reaches process 1 of a namespace although it has no handler. */
void _start(void)
{
	unsigned long set = 1UL << (SIGNAL_INT - 1) | 1UL << (SIGNAL_TERM - 1) | 1UL << (SIGNAL_CHILD - 1);
	char byte;

	if (syscall5(SYS_read, 0, (long)&byte, 1, 0, 0) != 1)
		syscall5(SYS_exit, 1, 0, 0, 0, 0);
	syscall5(SYS_close, 0, 0, 0, 0, 0);
	/* What the shim left open for its children; sockets of its own among them. */
	syscall5(SYS_close_range, 3, ~0U, 0, 0, 0);
	syscall5(SYS_rt_sigprocmask, BLOCK, (long)&set, 0, SET_BYTES, 0);
	for (;;) {
		long signal = syscall5(SYS_rt_sigtimedwait, (long)&set, 0, 0, SET_BYTES, 0);

		if (signal == SIGNAL_INT || signal == SIGNAL_TERM)
			break;
		while (syscall5(SYS_wait4, -1, 0, NO_HANG, 0, 0) > 0)
			;
	}
	syscall5(SYS_exit, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}
