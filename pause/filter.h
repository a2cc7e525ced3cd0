/* SPDX-License-Identifier: Apache-2.0 */
/* A seccomp filter: instructions of classic BPF over the number and the architecture of a system call. */

struct instruction {
	unsigned short code;
	unsigned char if_true, if_false;
	unsigned int value;
};

struct filter {
	unsigned short count;
	const struct instruction *program;
};

/* LOAD: a word of the call; IF_EQUAL: skips this many instructions; ANSWER: the result of the call. */
#define LOAD(at) { 0x20, 0, 0, at }
#define IF_EQUAL(value, if_true, if_false) { 0x15, if_true, if_false, value }
#define ANSWER(action) { 0x06, 0, 0, action }

#define KILL_PROCESS 0x80000000U
#define ALLOW 0x7fff0000U

#if defined(__x86_64__)
#define ARCHITECTURE 0xc000003eU
#else
#define ARCHITECTURE 0xc00000b7U
#endif

enum { NUMBER_AT = 0, ARCHITECTURE_AT = 4, MODE_FILTER = 2, SET_DUMPABLE = 4, SET_SECCOMP = 22, SET_NO_NEW_PRIVILEGES = 38 };
