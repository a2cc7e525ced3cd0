/* SPDX-License-Identifier: Apache-2.0 */
/* System calls without libc, for programs that need nothing from the file system they run in. */

#if defined(__x86_64__)
enum {
	SYS_read = 0, SYS_close = 3, SYS_rt_sigprocmask = 14, SYS_ioctl = 16, SYS_clone = 56, SYS_execve = 59, SYS_exit = 60,
	SYS_wait4 = 61, SYS_kill = 62, SYS_setpgid = 109, SYS_rt_sigtimedwait = 128, SYS_prctl = 157, SYS_dup3 = 292, SYS_pipe2 = 293,
	SYS_close_range = 436
};

static long syscall5(long number, long a, long b, long c, long d, long e)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
enum {
	SYS_dup3 = 24, SYS_ioctl = 29, SYS_close = 57, SYS_pipe2 = 59, SYS_read = 63, SYS_exit = 93, SYS_kill = 129, SYS_rt_sigprocmask = 135,
	SYS_rt_sigtimedwait = 137, SYS_setpgid = 154, SYS_prctl = 167, SYS_clone = 220, SYS_execve = 221, SYS_wait4 = 260, SYS_close_range = 436
};

static long syscall5(long number, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}
#else
#error "x86_64 and aarch64 are known"
#endif

enum { SIGNAL_INT = 2, SIGNAL_TERM = 15, SIGNAL_CHILD = 17, BLOCK = 0, SET = 2, NO_HANG = 1, SET_BYTES = 8 };
