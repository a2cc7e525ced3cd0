/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A cache of the flows that one processor touched within this jiffy. Most packets of a busy flow change nothing in
 * its record, and finding the record is half of their cost; here it is found without a call.
 */
#ifndef BERTH_RECENT_H
#define BERTH_RECENT_H

#include "flows.h"

#define RECENT_BITS 10

/* A copy, valid while jiffy and policy do not change and the packet does not change the state. */
struct recent {
	struct flow_key key;
	__u64 seen_ns;
	__u64 epoch;
	__u32 ifindex[2];
	__u16 slot[2];
	__u32 state;
	__u8 mac[2][6];
	__u32 ends; /* bit 0: packets of the low end are delivered, bit 1: of the high end; one cache line */
};
_Static_assert(sizeof(struct recent) == 64, "one cache line");

/* One row for many flows: it holds the last one touched. Not pinned: its content does not outlive the jiffy. */
struct {
	uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	uint(max_entries, 1 << RECENT_BITS);
	type(key, __u32);
	type(value, struct recent);
} recents SECTION(".maps");

INLINE struct recent *recent_row(const struct flow_key *key)
{
	__u32 mixed = key->low ^ key->high ^ key->vni_proto ^ ((__u32)key->port_low << 16 | key->port_high);
	__u32 row = mixed * 0x9e3779b1u >> (32 - RECENT_BITS);

	return map_lookup(&recents, &row);
}

/* True if the record has the content of the copy, and the packet would not change it. */
INLINE bool recent_holds(const struct recent *r, const struct crossing *c, __u32 ifindex)
{
	if (r->seen_ns != c->now_ns || r->epoch != c->epoch || r->key.low != c->key.low || r->key.high != c->key.high ||
	    r->key.port_low != c->key.port_low || r->key.port_high != c->key.port_high ||
	    r->key.vni_proto != c->key.vni_proto)
		return false;
	if (!(r->ends & (c->from_high ? 2 : 1)))
		return false;
	if ((c->from_high ? r->ifindex[1] : r->ifindex[0]) != ifindex)
		return false;
	if (c->packet.proto == PROTO_TCP && tcp_opens(c->packet.tcp_flags))
		return false;
	return flow_step(r->state, c->from_high, c->packet.proto, c->packet.tcp_flags) == r->state;
}

/* Copies two words of a hardware address. */
INLINE void put_mac(__u8 *to, const __u8 *from)
{
	*(__u32 *)to = *(const __u32 *)from;
	*(__u16 *)(to + 4) = *(const __u16 *)(from + 4);
}

/* 1 if packets of this end are delivered as long as the policy stays. */
INLINE __u32 delivered_end(const struct flow *f, __u64 epoch, bool high)
{
	return decided_at(f, high) == epoch && !decision_for(f, high);
}

/*
 * Copies a record after a packet. Never of a connection that begins to close: the next one with the same key must not
 * be mistaken for it.
 */
INLINE void remember_flow(struct recent *r, const struct crossing *c, const struct flow *f, const struct eni *from,
			  const struct eni *to)
{
	if (f->state & (FLOW_FIN_LOW | FLOW_FIN_HIGH | FLOW_RST | FLOW_CUT)) {
		r->seen_ns = 0;
		return;
	}
	r->key = c->key;
	r->seen_ns = c->now_ns;
	r->epoch = c->epoch;
	r->ifindex[0] = f->ifindex[0];
	r->ifindex[1] = f->ifindex[1];
	r->slot[0] = f->slot[0];
	r->slot[1] = f->slot[1];
	put_mac(r->mac[c->from_high ? 1 : 0], from->mac);
	put_mac(r->mac[c->from_high ? 0 : 1], to->mac);
	r->state = f->state;
	r->ends = delivered_end(f, c->epoch, false) | delivered_end(f, c->epoch, true) << 1;
}

#endif
