/*
 * What one processor remembers of the flows it touched within this jiffy. Most packets of a busy flow change nothing in
 * its record, and finding the record is half of what such a packet costs; here it is found without a call.
 */
#ifndef BERTH_RECENT_H
#define BERTH_RECENT_H

#include "flows.h"

#define RECENT_BITS 10

/* A copy, good for as long as neither the jiffy nor the policy changes and the packet leaves the state as it is. */
struct recent {
	struct flow_key key;
	__u64 seen_ns;
	__u64 epoch;
	__u32 ifindex[2];
	__u16 slot[2];
	__u32 state;
	__u8 rest[16]; /* one cache line */
};
_Static_assert(sizeof(struct recent) == 64, "one cache line");

/* One row for many flows: the last one touched has it. Not pinned: nothing in it outlives the jiffy. */
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

/* True if the record would say what the copy says, and the packet would change nothing in it. */
INLINE bool recent_holds(const struct recent *r, const struct crossing *c, __u32 ifindex)
{
	if (r->seen_ns != c->now_ns || r->epoch != c->epoch || r->key.low != c->key.low || r->key.high != c->key.high ||
	    r->key.port_low != c->key.port_low || r->key.port_high != c->key.port_high ||
	    r->key.vni_proto != c->key.vni_proto)
		return false;
	if ((c->from_high ? r->ifindex[1] : r->ifindex[0]) != ifindex)
		return false;
	if (c->packet.proto == PROTO_TCP && tcp_opens(c->packet.tcp_flags))
		return false;
	return flow_step(r->state, c->from_high, c->packet.proto, c->packet.tcp_flags) == r->state;
}

/*
 * Copies a record after a packet. Never of a connection that begins to end: the next one of the same key must not be
 * taken for it.
 */
INLINE void remember_flow(struct recent *r, const struct crossing *c, const struct flow *f)
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
	r->state = f->state;
}

#endif
