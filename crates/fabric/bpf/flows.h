/*
 * Records of flows: opening, touching, judging again after a change, and the ring that bounds what one interface owns.
 */
#ifndef BERTH_FLOWS_H
#define BERTH_FLOWS_H

#include "gates.h"

/* Rows of the ring that are tried before it grows. Oldest first, so the first one is nearly always free. */
#define RING_PROBES 4

#define UPDATE_ANY 0

/* The fabric-side device of one end. */
INLINE __u32 device_of(const struct flow *f, bool high)
{
	return high ? f->ifindex[1] : f->ifindex[0];
}

INLINE bool opens_flow(const struct packet *p)
{
	return p->proto != PROTO_ICMP || icmp_kind(p->icmp_type) == ICMP_REQUEST;
}

/* True if the flow of this row is not alive or not this row's any more; a dead one is removed. */
INLINE bool ring_row_is_free(const struct ring_key *row, const struct flow_key *key, __u64 now_ns)
{
	struct flow_key copy = *key;
	struct flow *f = map_lookup(&flows, &copy);

	if (!f || f->owner != row->slot || f->ring_index != row->index)
		return true;
	if (!flow_reclaimable(now_ns, f->seen_ns, f->state, copy.vni_proto & 0xff))
		return false;
	map_delete(&flows, &copy);
	return true;
}

/* Finds a row of `slot` for a new flow, and writes its index. Returns why there is none, or NOT_DROPPED. */
GLOBAL int claim_row(__u32 slot, const struct flow_key *flow, __u64 now_ns, __u32 *index)
{
	struct ring_key row = { .slot = slot };
	struct flow_key *key, copy;
	struct ring *ring;
	__u32 rows;

	if (!flow || !index)
		return DROP_flow_quota;
	copy = *flow;
	ring = map_lookup(&rings, &row.slot);
	if (!ring)
		return DROP_flow_quota;
	rows = ring->rows;
	for (int probe = 0; probe < RING_PROBES && rows; probe++) {
		*index = row.index = __sync_fetch_and_add(&ring->cursor, 1) % rows;
		key = map_lookup(&flow_ring, &row);
		if (key && ring_row_is_free(&row, key, now_ns)) {
			*key = copy;
			return NOT_DROPPED;
		}
		if (!key)
			goto add;
	}
	if (rows >= FLOWS_PER_ENI)
		return DROP_flow_quota;
	*index = row.index = __sync_fetch_and_add(&ring->rows, 1);
add:
	return map_update(&flow_ring, &row, &copy, UPDATE_ANY) ? DROP_flow_table_full : NOT_DROPPED;
}

INLINE void describe_flow(struct flow *f, struct __sk_buff *skb, const struct crossing *c, const struct endpoint *to)
{
	f->seen_ns = c->now_ns;
	f->epoch = c->epoch;
	f->owner = c->slot;
	if (c->from_high) {
		f->ifindex[1] = skb->ifindex;
		f->slot[1] = c->slot;
		f->ifindex[0] = to->ifindex;
		f->slot[0] = to->slot;
	} else {
		f->ifindex[0] = skb->ifindex;
		f->slot[0] = c->slot;
		f->ifindex[1] = to->ifindex;
		f->slot[1] = to->slot;
	}
}

/* Remembers an admitted flow; an older one of the same key is replaced. False: c->reason says why not. */
INLINE bool insert_flow(struct __sk_buff *skb, struct crossing *c, struct endpoint *to, __u32 admitted)
{
	struct flow *old = map_lookup(&flows, &c->key);
	struct flow f = {};
	__u32 row = 0;

	c->reason = NOT_DROPPED;
	if (old && old->owner == c->slot)
		row = old->ring_index;
	else
		c->reason = claim_row(c->slot, &c->key, c->now_ns, &row);
	if (c->reason != NOT_DROPPED)
		return false;
	describe_flow(&f, skb, c, to);
	f.ring_index = row;
	f.state = flow_step(admitted | (c->from_high ? FLOW_FROM_HIGH : 0), c->from_high, c->packet.proto,
			    c->packet.tcp_flags);
	c->reason = DROP_flow_table_full;
	return !map_update(&flows, &c->key, &f, UPDATE_ANY);
}

/* Moves the clock and the state. Bits are only ever set, so two processors cannot undo each other. */
INLINE void touch_flow(struct crossing *c, struct flow *f, __u32 state)
{
	__u32 after = flow_step(state, c->from_high, c->packet.proto, c->packet.tcp_flags);

	f->seen_ns = c->now_ns;
	if (after != state)
		__sync_fetch_and_or(&f->state, after);
}

/* Asks the gate again that admitted this end's packets by rule, in the direction in which it did. */
INLINE int ask_again(struct crossing *c, __u32 own, __u32 to, __u8 gate, __u32 state)
{
	bool high = gate == EGRESS ? c->from_high : !c->from_high;
	__u8 direction = state & ingress_bit(high) ? INGRESS : EGRESS;
	struct question q = {};

	if (!(state & untracked_bit(high)))
		return GATE_ADMITS;
	question_of(&q, c, own, to, gate);
	q.direction = direction;
	name_port(&q, &c->packet, direction != gate);
	return ask(&q);
}

INLINE bool is_denial(int answer)
{
	return answer == GATE_DENIES || answer == GATE_HAS_NO_RULES;
}

/*
 * Policy or membership changed since the flow was last judged. Tracked ends keep their decision, untracked ones are
 * asked again and cut when the rule is gone. False: the flow is not between these interfaces any more.
 */
NOINLINE int judge_again(struct crossing *c, struct flow *f)
{
	struct endpoint *to = find_receiver(c);
	__u32 state = f->state, own, to_group_set, kept;
	int mine, theirs;

	if (!to || to->ifindex != device_of(f, !c->from_high))
		return false;
	if (state & (FLOW_UNTRACKED_LOW | FLOW_UNTRACKED_HIGH)) {
		own = own_group_set(c);
		to_group_set = group_set_of(to, c->side);
		mine = ask_again(c, own, to_group_set, EGRESS, state);
		theirs = ask_again(c, own, to_group_set, INGRESS, state);
		kept = state & ~(__u32)FLOW_CUT;
		if (is_denial(mine) || is_denial(theirs))
			f->state = state | FLOW_CUT;
		else {
			if (mine == GATE_ADMITS)
				kept &= ~untracked_bit(c->from_high);
			if (theirs == GATE_ADMITS)
				kept &= ~untracked_bit(!c->from_high);
			f->state = kept;
		}
	}
	f->epoch = c->epoch;
	return true;
}

/* True if the packet is an ICMP error about a live flow of its receiver in this VPC. */
GLOBAL int related_to_flow(struct __sk_buff *skb, const struct packet *p, __u32 vni, __u64 now_ns)
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
	if (inner.src != p->dst || inner.dst != p->src)
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

INLINE struct fragment_key fragment_key_of(const struct crossing *c)
{
	return (struct fragment_key){ .src = c->packet.src, .dst = c->packet.dst, .vni = c->eni->vni,
				      .ip_id = c->packet.ip_id, .proto = c->packet.proto };
}

/* Keeps the ports of a first fragment that passed, for the later ones. */
NOINLINE int remember_fragment(struct crossing *c)
{
	struct fragment_key key = fragment_key_of(c);
	struct fragment_ports ports = { c->packet.sport, c->packet.dport, c->packet.icmp_id, c->packet.icmp_type,
					c->packet.icmp_code };

	return map_update(&fragments, &key, &ports, UPDATE_ANY);
}

/* Gives a later fragment the ports of the first one. */
NOINLINE int recall_fragment(struct crossing *c)
{
	struct fragment_key key = fragment_key_of(c);
	struct fragment_ports *ports = map_lookup(&fragments, &key);

	if (!ports)
		return false;
	c->packet.sport = ports->sport;
	c->packet.dport = ports->dport;
	c->packet.icmp_id = ports->icmp_id;
	c->packet.icmp_type = ports->icmp_type;
	c->packet.icmp_code = ports->icmp_code;
	return true;
}

#endif
