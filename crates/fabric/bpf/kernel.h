/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The parts of the kernel's interface that the programs use: helper numbers from linux/bpf.h and the map declaration
 * macros. They are written out here so that a build needs only clang and the kernel's user headers, not libbpf.
 */
#ifndef BERTH_KERNEL_H
#define BERTH_KERNEL_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#define SECTION(name) __attribute__((section(name), used))
#define NOINLINE static __attribute__((noinline))
/*
 * A function that is verified once for all callers; a pointer argument may be null there and hold no pointers. Linux
 * 6.1 accepts no key or value of a map behind such an argument: they are copied first.
 */
#define GLOBAL __attribute__((noinline))
#define uint(name, value) int(*name)[value]
#define type(name, value) typeof(value) *name

#define be16(x) ((__be16)__builtin_bswap16(x))
#define be32(x) ((__be32)__builtin_bswap32(x))

enum { PIN_BY_NAME = 1 };

static void *(*const map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const map_update)(void *map, const void *key, const void *value, __u64 flags) =
	(void *)BPF_FUNC_map_update_elem;
static long (*const map_delete)(void *map, const void *key) = (void *)BPF_FUNC_map_delete_elem;
static long (*const skb_load)(const void *skb, __u32 offset, void *to, __u32 bytes) = (void *)BPF_FUNC_skb_load_bytes;
static long (*const skb_store)(struct __sk_buff *skb, __u32 offset, const void *from, __u32 bytes, __u64 flags) =
	(void *)BPF_FUNC_skb_store_bytes;
static long (*const l4_csum_replace)(struct __sk_buff *skb, __u32 offset, __u64 from, __u64 to, __u64 flags) =
	(void *)BPF_FUNC_l4_csum_replace;
static long (*const l3_csum_replace)(struct __sk_buff *skb, __u32 offset, __u64 from, __u64 to, __u64 bytes) =
	(void *)BPF_FUNC_l3_csum_replace;
static long (*const skb_change_tail)(struct __sk_buff *skb, __u32 bytes, __u64 flags) =
	(void *)BPF_FUNC_skb_change_tail;
static __u64 (*const clock_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static __u32 (*const random32)(void) = (void *)BPF_FUNC_get_prandom_u32;
static long (*const skb_change_type)(struct __sk_buff *skb, __u32 type) = (void *)BPF_FUNC_skb_change_type;
static long (*const redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*const redirect_peer)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect_peer;
/* Inlined by the verifier, unlike the clocks. */
static __u64 (*const jiffies64)(void) = (void *)BPF_FUNC_jiffies64;

#endif
