// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Redirects connections for one address and port to a socket that listens elsewhere, so that the port stays free for
 * other programs. The kernel runs it for each new connection to this network namespace, before it looks for listening
 * sockets.
 */
#include "kernel.h"

/* From sys/socket.h and netinet/in.h, which are not available for this target. */
enum { AF_INET = 2, IPPROTO_TCP = 6 };

/* Set before loading. */
volatile const __be32 ADDRESS;
volatile const __u32 PORT;

/* The kernel removes the socket when it is closed. */
struct {
	uint(type, BPF_MAP_TYPE_SOCKMAP);
	uint(max_entries, 1);
	type(key, __u32);
	type(value, __u32);
} endpoint_socket SECTION(".maps");

static long (*const sk_assign)(struct bpf_sk_lookup *c, struct bpf_sock *sk, __u64 flags) =
	(void *)BPF_FUNC_sk_assign;
static long (*const sk_release)(struct bpf_sock *sk) = (void *)BPF_FUNC_sk_release;

SECTION("sk_lookup") int endpoint(struct bpf_sk_lookup *c)
{
	__u32 first = 0;
	struct bpf_sock *listener;
	long refused;

	if (c->family != AF_INET || c->protocol != IPPROTO_TCP || c->local_ip4 != ADDRESS || c->local_port != PORT)
		return SK_PASS;
	listener = map_lookup(&endpoint_socket, &first);
	/* No other socket may answer in its place. */
	if (!listener)
		return SK_DROP;
	refused = sk_assign(c, listener, 0);
	sk_release(listener);
	return refused ? SK_DROP : SK_PASS;
}

char LICENSE[] SECTION("license") = "GPL";
