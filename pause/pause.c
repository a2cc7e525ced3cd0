/* The pause container: holds a task's namespaces open, reaps orphans, ends on SIGTERM or SIGINT.
 *
 * Freestanding (no libc), so that the program is a few hundred bytes and needs nothing from its root file system. */

#if defined(__x86_64__)
enum { SYS_rt_sigprocmask = 14, SYS_rt_sigtimedwait = 128, SYS_wait4 = 61, SYS_exit = 60 };

static long syscall4(long number, long a, long b, long c, long d)
{
	long result;
	register long r10 __asm__("r10") = d;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
enum { SYS_rt_sigprocmask = 135, SYS_rt_sigtimedwait = 137, SYS_wait4 = 260, SYS_exit = 93 };

static long syscall4(long number, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
#else
#error "pause knows x86_64 and aarch64"
#endif

enum { SIGNAL_INT = 2, SIGNAL_TERM = 15, SIGNAL_CHILD = 17, BLOCK = 0, NO_HANG = 1, SET_BYTES = 8 };

/* Signals are blocked and waited for: a blocked signal reaches process 1 of a namespace although it has no handler. */
void _start(void)
{
	unsigned long set = 1UL << (SIGNAL_INT - 1) | 1UL << (SIGNAL_TERM - 1) | 1UL << (SIGNAL_CHILD - 1);

	syscall4(SYS_rt_sigprocmask, BLOCK, (long)&set, 0, SET_BYTES);
	for (;;) {
		long signal = syscall4(SYS_rt_sigtimedwait, (long)&set, 0, 0, SET_BYTES);

		if (signal == SIGNAL_INT || signal == SIGNAL_TERM)
			break;
		while (syscall4(SYS_wait4, -1, 0, NO_HANG, 0) > 0)
			;
	}
	syscall4(SYS_exit, 0, 0, 0, 0);
	__builtin_unreachable();
}
