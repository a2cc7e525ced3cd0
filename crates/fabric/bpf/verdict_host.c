// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * verdict.h compiled for the host: the functions the property tests call (src/verdict.rs). Not part of the data path.
 */
#include "verdict.h"

bool host_overlap(const struct bitmap *peer, const struct bitmap *port)
{
	return overlap(peer, port);
}

bool host_replies_are_open(__u32 open, __u8 direction, __u8 proto)
{
	return replies_are_open(open, direction, proto);
}

bool host_tcp_opens(__u8 flags)
{
	return tcp_opens(flags);
}

void host_flow_key(const struct packet *p, __u32 vni, struct flow_key *key)
{
	*key = flow_key_of(p, vni);
}

__u32 host_flow_step(__u32 state, bool from_high, __u8 proto, __u8 tcp_flags)
{
	return flow_step(state, from_high, proto, tcp_flags);
}

bool host_flow_alive(__u64 now_ns, __u64 seen_ns, __u32 state, __u8 proto)
{
	return flow_alive(now_ns, seen_ns, state, proto);
}

bool host_flow_reclaimable(__u64 now_ns, __u64 seen_ns, __u32 state, __u8 proto)
{
	return flow_reclaimable(now_ns, seen_ns, state, proto);
}

bool host_flow_unanswered(__u32 state)
{
	return flow_unanswered(state);
}

bool host_may_share(__s32 own, __s32 taken, __u32 shared_max)
{
	return may_share(own, taken, shared_max);
}

bool host_flow_carries(const struct flow *f, const struct packet *p, __u32 ifindex, __u64 now_ns)
{
	return flow_carries(f, p, ifindex, now_ns);
}

bool host_first_match_admits(const struct acl_row *address, const struct acl_row *port)
{
	return first_match_admits(address, port);
}

bool host_never_routed(__be32 address)
{
	return never_routed(address);
}

__u16 host_nat_port(__u16 own, __u32 probe, __u32 random)
{
	return nat_port(own, probe, random);
}

bool host_translation_alive(__u64 now_ns, __u64 seen_ns, __u32 state, const struct control *durations)
{
	return translation_alive(now_ns, seen_ns, state, durations);
}

void host_question_of(struct question *q, const struct packet *p, const struct ends *ends, __u8 gate)
{
	question_of(q, p, ends, gate);
}

_Static_assert(sizeof(struct question) == 20 && sizeof(struct ends) == 20, "as in src/verdict.rs");
