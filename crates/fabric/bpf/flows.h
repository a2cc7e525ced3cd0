/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Records of flows: creation, update, a new decision after a change, and the ring that bounds the flows of an
 * interface.
 */
#ifndef BERTH_FLOWS_H
#define BERTH_FLOWS_H

#include "gates.h"

/* Number of ring rows tried before the ring grows. Oldest first, so the first one is nearly always free. */
#define RING_PROBES 4
/* Number of ring rows tried for an unanswered flow, when the ring may not grow. */
#define LAST_PROBES 12

enum { UPDATE_ANY = 0, UPDATE_MISSING = 1 /* BPF_NOEXIST */ };
enum { ERROR_EXISTS = -17 /* EEXIST */ };

/* The fabric-side device of one end. */
INLINE __u32 device_of(const struct flow *f, bool high)
{
	return high ? f->ifindex[1] : f->ifindex[0];
}

INLINE bool opens_flow(const struct packet *p)
{
	return p->proto != PROTO_ICMP || icmp_kind(p->icmp_type) == ICMP_REQUEST;
}

/* A search for a row of the ring. */
struct claim {
	struct flow_key flow;
	struct ring_key row; /* the one that is tried */
	__u64 now_ns;
	__u32 floor, shared_max;
};

enum { ROW_TAKEN, ROW_MISSING, ROW_HELD, ROW_FAILED };

/* The durations, which are in `control`. */
INLINE struct control *durations(void)
{
	__u32 zero = 0;

	return map_lookup(&control, &zero);
}

/* True if the row of this flow may be reused; with `urgent`, also that of an unanswered or a closed one. */
INLINE bool may_reclaim(const struct flow *f, __u64 now_ns, __u8 proto, bool urgent)
{
	struct control *limits;

	if (urgent && flow_unanswered(f->state))
		return true;
	if (!(f->state & FLOW_TRANSLATED))
		return flow_reclaimable(now_ns, f->seen_ns, f->state, proto);
	limits = durations();
	return !limits || (urgent && flow_closed(f->state)) ||
	       !translation_alive(now_ns, f->seen_ns, f->state, limits);
}

/*
 * True if the flow of this row is dead, belongs to another row, or (with `urgent`) can be done without. Such a
 * flow is removed from the table.
 */
INLINE bool row_is_free(const struct claim *c, const struct flow_key *key, bool urgent)
{
	struct flow_key copy = *key;
	struct flow *f = map_lookup(&flows, &copy);

	if (!f || f->owner != c->row.slot || f->ring_index != c->row.index)
		return true;
	if (!may_reclaim(f, c->now_ns, copy.vni_proto & 0xff, urgent))
		return false;
	map_delete(&flows, &copy);
	return true;
}

/* Assigns an existing row to the new flow. */
INLINE int reuse_row(const struct claim *c, bool urgent)
{
	struct ring_key row = c->row;
	struct flow_key *key = map_lookup(&flow_ring, &row);

	if (!key)
		return ROW_MISSING;
	if (!row_is_free(c, key, urgent))
		return ROW_HELD;
	*key = c->flow;
	return ROW_TAKEN;
}

/* Number of shared rows that a slot holds; for slot 0, the sum. */
INLINE __s32 shared_rows_of(__u32 slot)
{
	struct ring *ring = map_lookup(&rings, &slot);
	struct returned *returned = map_lookup(&returns, &slot);

	return ring && returned ? (__s32)(ring->made_shared - returned->shared) : 0;
}

INLINE void count_row(__u32 slot, bool shared)
{
	struct ring *ring = map_lookup(&rings, &slot);

	if (!ring)
		return;
	__sync_fetch_and_add(&ring->made, 1);
	if (shared)
		__sync_fetch_and_add(&ring->made_shared, 1);
}

/* Creates the row for the new flow, if the slot may have it. */
NOINLINE int make_row(const struct claim *c)
{
	bool shared = c->row.index >= c->floor;
	struct ring_key row = c->row;
	struct flow_key flow = c->flow;
	long failed;

	if (shared && !may_share(shared_rows_of(row.slot), shared_rows_of(0), c->shared_max))
		return ROW_HELD;
	failed = map_update(&flow_ring, &row, &flow, UPDATE_MISSING);
	if (failed)
		return failed == ERROR_EXISTS ? ROW_HELD : ROW_FAILED;
	count_row(row.slot, shared);
	count_row(0, shared);
	return ROW_TAKEN;
}

/* The reason why a slot gets no row: it holds most of the shared rows itself, or the others do. */
INLINE int why_no_row(__u32 slot)
{
	__s32 own = shared_rows_of(slot), all = shared_rows_of(0);

	return all - own > own ? DROP_flow_table_crowded : DROP_flow_quota;
}

/* Finds a row of `slot` for a new flow, and writes its index. Returns the reason for a failure, or NOT_DROPPED. */
GLOBAL int claim_row(__u32 slot, const struct flow_key *flow, __u64 now_ns, __u32 *index)
{
	struct claim c = { .row.slot = slot, .now_ns = now_ns };
	struct returned *returned;
	struct shares *now;
	struct ring *ring;
	__u32 zero = 0, end;
	int done = ROW_HELD;

	if (!flow || !index)
		return DROP_flow_quota;
	c.flow = *flow;
	ring = map_lookup(&rings, &slot);
	returned = map_lookup(&returns, &slot);
	now = map_lookup(&shares, &zero);
	if (!ring || !returned || !now)
		return DROP_flow_quota;
	c.floor = now->floor;
	c.shared_max = now->shared_max;
	end = ring->end - returned->shrunk;
	for (int probe = 0; probe < RING_PROBES && end; probe++) {
		c.row.index = __sync_fetch_and_add(&ring->cursor, 1) % end;
		done = reuse_row(&c, false);
		if (done == ROW_MISSING)
			done = make_row(&c);
		if (done == ROW_TAKEN)
			goto taken;
	}
	for (int probe = 0; probe < RING_PROBES; probe++) {
		c.row.index = end;
		if (end >= c.floor && !may_share(shared_rows_of(slot), shared_rows_of(0), c.shared_max))
			break;
		c.row.index = __sync_fetch_and_add(&ring->end, 1) - returned->shrunk;
		done = make_row(&c);
		if (done == ROW_TAKEN)
			goto taken;
		if (done == ROW_FAILED)
			return DROP_flow_table_full;
	}
	for (int probe = 0; probe < LAST_PROBES && end; probe++) {
		c.row.index = __sync_fetch_and_add(&ring->cursor, 1) % end;
		if (reuse_row(&c, true) == ROW_TAKEN)
			goto taken;
	}
	return why_no_row(slot);
taken:
	*index = c.row.index;
	return NOT_DROPPED;
}

INLINE __u16 decision_for(const struct flow *f, bool from_high)
{
	return from_high ? f->decision[1] : f->decision[0];
}

/* Notes the decision on packets of one end. */
INLINE void decide(struct flow *f, const struct crossing *c, __u16 decision)
{
	if (c->from_high) {
		f->decision[1] = decision;
		f->epoch_high = c->epoch;
	} else {
		f->decision[0] = decision;
		f->epoch = c->epoch;
	}
}

INLINE __u64 decided_at(const struct flow *f, bool from_high)
{
	return from_high ? f->epoch_high : f->epoch;
}

INLINE void describe_flow(struct flow *f, struct __sk_buff *skb, const struct crossing *c)
{
	f->seen_ns = c->now_ns;
	f->owner = c->from_world ? c->to_slot : c->slot;
	if (c->from_high) {
		f->ifindex[1] = skb->ifindex;
		f->slot[1] = c->slot;
		f->ifindex[0] = c->to_ifindex;
		f->slot[0] = c->to_slot;
	} else {
		f->ifindex[0] = skb->ifindex;
		f->slot[0] = c->slot;
		f->ifindex[1] = c->to_ifindex;
		f->slot[1] = c->to_slot;
	}
}

/* The way of an admitted packet. */
INLINE __u8 flow_way(const struct crossing *c)
{
	if (c->way.kind == ROUTE_WORLD)
		return WAY_WORLD;
	return c->way.kind == ROUTE_NAT ? WAY_NAT : WAY_DELIVER;
}

/* Finds a row for the flow of the packet: that of an older one with the same key, or another. Sets c->reason. */
INLINE __u32 row_for(struct crossing *c, __u32 payer)
{
	struct flow_key key = c->key;
	struct flow *old = map_lookup(&flows, &key);
	__u32 row = 0;

	c->reason = NOT_DROPPED;
	if (old && old->owner == payer)
		return old->ring_index;
	c->reason = claim_row(payer, &key, c->now_ns, &row);
	return row;
}

/* Stores an admitted flow in place of an older one with the same key. */
GLOBAL int store_flow(struct __sk_buff *skb, struct crossing *c, __u32 admitted, __u32 row)
{
	struct flow f = {};
	struct flow_key key;

	if (!c)
		return false;
	key = c->key;
	describe_flow(&f, skb, c);
	decide(&f, c, decision_of(flow_way(c), false, 0));
	f.ring_index = row;
	f.state = flow_step(admitted | (c->from_high ? FLOW_FROM_HIGH : 0), c->from_high, c->packet.proto,
			    c->packet.tcp_flags);
	return !map_update(&flows, &key, &f, UPDATE_ANY);
}

/* Updates time and state. Bits are only ever set, so two processors cannot undo each other. */
INLINE void touch_flow(struct crossing *c, struct flow *f, __u32 state)
{
	__u32 after = flow_step(state, c->from_high, c->packet.proto, c->packet.tcp_flags);

	f->seen_ns = c->now_ns;
	if (after != state)
		__sync_fetch_and_or(&f->state, after);
}

/* Asks the gate that admitted this end's packets by rule again, in the direction of its first decision. */
INLINE int ask_again(struct crossing *c, const struct ends *ends, __u8 gate, __u32 state)
{
	bool high = gate == EGRESS ? c->from_high : !c->from_high;
	struct question q = {};

	if (!(state & untracked_bit(high)))
		return GATE_ADMITS;
	question_of(&q, &c->packet, ends, gate);
	q.direction = direction_of_end(state, high);
	name_port(&q, &c->packet, q.direction != gate);
	return ask(&q);
}

INLINE bool is_denial(int answer)
{
	return answer == GATE_DENIES || answer == GATE_HAS_NO_RULES;
}

/* Untracked ends are evaluated again, and cut when the rule is gone. */
NOINLINE int ask_untracked(struct crossing *c, struct flow *f)
{
	__u32 state = f->state, kept = state & ~(__u32)FLOW_CUT;
	struct ends ends = ends_of(c);
	int mine, theirs;

	mine = ask_again(c, &ends, EGRESS, state);
	theirs = ask_again(c, &ends, INGRESS, state);
	if (is_denial(mine) || is_denial(theirs)) {
		f->state = state | FLOW_CUT;
		return 0;
	}
	if (mine == GATE_ADMITS)
		kept &= ~untracked_bit(c->from_high);
	if (theirs == GATE_ADMITS)
		kept &= ~untracked_bit(!c->from_high);
	f->state = kept;
	return 0;
}

/*
 * Policy, membership, routes or ACLs changed since the last decision on packets of this end. Tracked ends keep the
 * decision of their groups; way and ACLs, which are found again, decide anew. False: the flow is no longer between these
 * devices. A flow whose route is gone stays, and continues when the route is back.
 */
INLINE bool judge_again(struct crossing *c, struct flow *f)
{
	bool is_lost = c->blocked != NOT_DROPPED && !ends_at_interface(c) && !c->to_ifindex;

	if (!is_lost && c->to_ifindex != device_of(f, !c->from_high))
		return false;
	if (!is_lost && f->state & (FLOW_UNTRACKED_LOW | FLOW_UNTRACKED_HIGH))
		ask_untracked(c, f);
	decide(f, c, decision_of(flow_way(c), c->blocked != NOT_DROPPED, c->blocked));
	return true;
}

/*
 * True if the packet is an ICMP error about a live flow of its receiver in this VPC: of the other end or, from the
 * world, of any router.
 */
GLOBAL int related_to_flow(struct __sk_buff *skb, const struct packet *p, __u32 vni, __u64 now_ns, __u32 from_world)
{
	struct packet inner = {};
	struct ipv4 ip = {};
	struct l4 l4 = {};
	struct flow_key key;
	struct flow *f;
	__u32 at;

	if (!p || p->proto != PROTO_ICMP || p->fragment || icmp_kind(p->icmp_type) != ICMP_ERROR)
		return false;
	at = p->header_bytes + L4_BYTES;
	if (skb_load(skb, at, &ip, sizeof(ip)) || take_ipv4(&inner, &ip) != NOT_DROPPED || inner.fragment)
		return false;
	if (inner.src != p->dst || (!from_world && inner.dst != p->src))
		return false;
	if (has_l4(&inner)) {
		if (skb_load(skb, at + inner.header_bytes - ETHERNET_BYTES, &l4, sizeof(l4)))
			return false;
		take_l4(&inner, &l4);
	}
	key = flow_key_of(&inner, vni);
	f = map_lookup(&flows, &key);
	return f && !(f->state & FLOW_CUT) && flow_alive(now_ns, f->seen_ns, f->state, inner.proto);
}

/* The row for a fragmented datagram among those of its sender. */
INLINE struct fragment *fragment_row(const struct crossing *c)
{
	__u32 mixed = (c->packet.ip_id ^ c->packet.dst ^ c->packet.proto) * 0x9e3779b1u;
	__u32 row = c->slot * FRAGMENTS_PER_ENI + mixed / (0xffffffffu / FRAGMENTS_PER_ENI + 1);

	return map_lookup(&fragments, &row);
}

/* Keeps the ports of an admitted first fragment for the later ones. */
NOINLINE int remember_fragment(struct crossing *c)
{
	struct fragment *row = fragment_row(c);

	if (!row)
		return false;
	*row = (struct fragment){
		.src = c->packet.src,
		.dst = c->packet.dst,
		.ip_id = c->packet.ip_id,
		.proto = c->packet.proto,
		.sport = c->packet.sport,
		.dport = c->packet.dport,
		.icmp_id = c->packet.icmp_id,
		.icmp_type = c->packet.icmp_type,
		.icmp_code = c->packet.icmp_code,
	};
	return true;
}

/* Copies the ports of the first fragment to a later one. */
NOINLINE int recall_fragment(struct crossing *c)
{
	struct fragment *row = fragment_row(c);

	if (!row || row->src != c->packet.src || row->dst != c->packet.dst || row->ip_id != c->packet.ip_id ||
	    row->proto != c->packet.proto)
		return false;
	c->packet.sport = row->sport;
	c->packet.dport = row->dport;
	c->packet.icmp_id = row->icmp_id;
	c->packet.icmp_type = row->icmp_type;
	c->packet.icmp_code = row->icmp_code;
	return true;
}

#endif
