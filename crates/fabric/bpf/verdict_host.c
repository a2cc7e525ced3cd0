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
