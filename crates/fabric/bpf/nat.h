/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * NAT gateways. A connection has two legs, each with a flow: from the sender to the gateway, with the untranslated
 * addresses, and from the gateway's address to the other end. Both stand in the flow table and are paid by the sender;
 * each names the other one in nat_address, nat_port and nat_vni. The second one reserves the port: it ends after the
 * idle time of a gateway, and when it is closed its port is given to no other sender for a while.
 */
#ifndef BERTH_NAT_H
#define BERTH_NAT_H

#include "rates.h"
#include "world.h"

/* Decisions that the caller completes, see finish(). */
enum { ACT_THROUGH_NAT = 1000, ACT_BACK_THROUGH_NAT = 1001, ACT_OPEN_SECOND_LEG = 1002 };

/*
 * Hands the packet to the inner end of `ifindex` with the hardware address `mac`. Neighbours use each other's
 * address; a packet that came through the router has its destination address written here.
 */
INLINE int deliver(struct __sk_buff *skb, struct crossing *c, __u32 ifindex, const __u8 *mac)
{
	if (!same_mac_words(c->to_mac, mac) && skb_store(skb, 0, mac, 6, 0))
		return drop(c->slot, DROP_malformed);
	skb_change_type(skb, PACKET_FOR_HOST);
	return redirect_peer(ifindex, 0);
}

/* Hands a packet to an interface without a limit. */
INLINE int pass_freely(struct __sk_buff *skb, struct crossing *c, __u32 ifindex, __u16 to_slot, const __u8 *mac)
{
	count_passed(c->slot, to_slot, skb->gso_segs ?: 1, skb->len);
	if (c->packet.more_fragments && !c->packet.fragment)
		remember_fragment(c);
	return deliver(skb, c, ifindex, mac);
}

INLINE int pass(struct __sk_buff *skb, struct crossing *c, __u32 ifindex, __u16 to_slot, const __u8 *mac)
{
	if (!within_rate(to_slot, RATE_IN, skb->len))
		return drop(to_slot, DROP_rate_exceeded);
	return pass_freely(skb, c, ifindex, to_slot, mac);
}

/* The live flow of a packet. */
INLINE struct flow *carrying_flow(struct __sk_buff *skb, struct crossing *c)
{
	struct flow_key key = c->key;
	struct flow *f = map_lookup(&flows, &key);
	struct control *limits;

	if (!f)
		return (void *)0;
	if (!(f->state & FLOW_TRANSLATED))
		return flow_carries(f, &c->packet, skb->ifindex, c->now_ns) ? f : (void *)0;
	limits = durations();
	if (!limits || !translation_alive(c->now_ns, f->seen_ns, f->state, limits))
		return (void *)0;
	return device_of(f, c->packet.src > c->packet.dst) == skb->ifindex ? f : (void *)0;
}

INLINE bool is_echo(const struct packet *p)
{
	return p->proto == PROTO_ICMP;
}

INLINE __be16 source_port(const struct packet *p)
{
	return is_echo(p) ? p->icmp_id : p->sport;
}

/* Makes the packet one of the second leg, from this address and port. */
INLINE void take_second_leg(struct crossing *c, __be32 address, __be16 port, __u32 vni)
{
	c->packet.src = address;
	if (is_echo(&c->packet))
		c->packet.icmp_id = port;
	else
		c->packet.sport = port;
	c->from_high = c->packet.src > c->packet.dst;
	c->key = flow_key_of(&c->packet, vni);
}

/* True if the port of the second leg in c->key is free for the sender, or is its own. */
INLINE bool is_port_free(const struct crossing *c, const struct control *limits)
{
	struct flow_key key = c->key;
	struct flow *f = map_lookup(&flows, &key);

	if (!f)
		return true;
	if (!(f->state & FLOW_TRANSLATED))
		return false;
	if (f->nat_address == c->inner && f->nat_port == c->inner_port)
		return true;
	return !translation_alive(c->now_ns, f->seen_ns, f->state, limits);
}

/* Tries a port of the gateway's address for a new connection; the second leg is in c->key then. */
GLOBAL int try_port(struct crossing *c, __u32 vni, __u32 probe)
{
	struct control *limits = durations();

	if (!c || !limits)
		return false;
	take_second_leg(c, c->packet.src, be16(nat_port(be16(c->inner_port), probe, random32())), vni);
	return is_port_free(c, limits);
}

INLINE bool find_port(struct crossing *c, __u32 vni)
{
	for (__u32 probe = 0; probe < NAT_PROBES; probe++)
		if (try_port(c, vni, probe))
			return true;
	return false;
}

/*
 * Puts the second leg in its place, which another sender may have taken since the search: a free place is filled only
 * if it is still empty, and that of a leg that ended belongs to the one that changes its time first.
 */
INLINE bool place_second_leg(const struct crossing *c, const struct flow_key *key, const struct flow *f)
{
	struct flow *old = map_lookup(&flows, key);
	struct control *limits = durations();
	__u64 seen;

	if (!old)
		return !map_update(&flows, key, f, UPDATE_MISSING);
	if (!(old->state & FLOW_TRANSLATED) || !limits)
		return false;
	if (old->nat_address != c->inner || old->nat_port != c->inner_port) {
		seen = *(volatile __u64 *)&old->seen_ns;
		if (translation_alive(c->now_ns, seen, old->state, limits) ||
		    __sync_val_compare_and_swap(&old->seen_ns, seen, c->now_ns) != seen)
			return false;
	}
	return !map_update(&flows, key, f, UPDATE_ANY);
}

/* Stores the second leg. False: another sender has its port now. */
GLOBAL int store_second_leg(struct crossing *c, __u32 row, __u32 number, __u32 inner_vni)
{
	struct flow_key key;
	struct flow f = {};

	if (!c)
		return false;
	key = c->key;
	f.seen_ns = c->now_ns;
	f.owner = c->slot;
	f.ring_index = row;
	f.nat_address = c->inner;
	f.nat_port = c->inner_port;
	f.nat_vni = inner_vni;
	if (c->from_high) {
		f.ifindex[1] = NAT_DEVICE | number;
		f.ifindex[0] = c->to_ifindex;
		f.slot[0] = c->to_slot;
	} else {
		f.ifindex[0] = NAT_DEVICE | number;
		f.ifindex[1] = c->to_ifindex;
		f.slot[1] = c->to_slot;
	}
	decide(&f, c, decision_of(flow_way(c), false, 0));
	f.state = flow_step(FLOW_TRANSLATED | (c->from_high ? FLOW_FROM_HIGH : 0), c->from_high, c->packet.proto,
			    c->packet.tcp_flags);
	return place_second_leg(c, &key, &f);
}

/* Answers a segment of a connection that the gateway does not know any more. */
NOINLINE int answer_reset(struct __sk_buff *skb, struct crossing *c)
{
	struct {
		struct ethernet ethernet;
		struct ipv4 ip;
		__be16 sport, dport;
		__be32 sequence, acknowledgement;
		__be16 flags, window, checksum, urgent;
	} __attribute__((packed)) frame = {};
	__be32 address[2];
	__u32 sum = 0, ip_sum = 0;
	__be32 acknowledged = 0;
	__u16 half;

	if (c->packet.tcp_flags & TCP_RST || skb_load(skb, c->packet.header_bytes + 8, &acknowledged, 4) ||
	    skb_load(skb, 6, frame.ethernet.dst, 6))
		return drop(c->slot, DROP_no_translation);
	put_router_mac(frame.ethernet.src);
	frame.ethernet.type = be16(ETHERTYPE_IPV4);
	frame.ip.version_words = 0x45;
	frame.ip.bytes = be16(IPV4_BYTES + TCP_BYTES);
	frame.ip.ttl = 64;
	frame.ip.proto = PROTO_TCP;
	frame.ip.src = c->packet.dst;
	frame.ip.dst = c->inner;
	frame.sport = c->packet.dport;
	frame.dport = c->inner_port;
	frame.sequence = acknowledged;
	frame.flags = be16(5 << 12 | TCP_RST);
	address[0] = frame.ip.src;
	address[1] = frame.ip.dst;
	/* The sum of both addresses is a part of either checksum. */
	sum = (address[0] & 0xffff) + (address[0] >> 16) + (address[1] & 0xffff) + (address[1] >> 16);
	ip_sum = sum + 0x45 + frame.ip.bytes + (64 | PROTO_TCP << 8);
	sum += be16(PROTO_TCP) + be16(TCP_BYTES) + frame.sport + frame.dport + (acknowledged & 0xffff) +
	       (acknowledged >> 16) + frame.flags;
	ip_sum = (ip_sum & 0xffff) + (ip_sum >> 16);
	half = (ip_sum & 0xffff) + (ip_sum >> 16);
	frame.ip.checksum = ~half;
	sum = (sum & 0xffff) + (sum >> 16);
	half = (sum & 0xffff) + (sum >> 16);
	frame.checksum = ~half;
	if (skb_change_tail(skb, sizeof(frame), 0) || skb_store(skb, 0, &frame, sizeof(frame), 0))
		return drop(c->slot, DROP_malformed);
	return redirect(skb->ifindex, 0);
}

/* Sends the packet of the second leg on its way, translated. */
GLOBAL int send_translated(struct __sk_buff *skb, struct crossing *c)
{
	if (!c)
		return ACT_DROP;
	if (!rewrite_port(skb, &c->packet, is_echo(&c->packet) ? L4_ICMP_ID : L4_SOURCE, c->inner_port,
			  source_port(&c->packet)))
		return drop(c->slot, DROP_malformed);
	if (c->way.kind == ROUTE_WORLD) {
		count_passed(c->slot, 0, skb->gso_segs ?: 1, skb->len);
		return leave(skb, c, c->inner, c->way.address);
	}
	if (!rewrite_address(skb, &c->packet, IP_SOURCE, c->inner, c->packet.src))
		return drop(c->slot, DROP_malformed);
	return pass(skb, c, c->to_ifindex, c->to_slot, c->next_mac);
}

/* The way of a packet of a known second leg. False: it is blocked. */
INLINE bool find_second_way(struct crossing *c, struct flow *leg)
{
	if (decided_at(leg, c->from_high) != c->epoch) {
		find_way(c);
		if (c->from_high) {
			leg->ifindex[0] = c->to_ifindex;
			leg->slot[0] = c->to_slot;
		} else {
			leg->ifindex[1] = c->to_ifindex;
			leg->slot[1] = c->to_slot;
		}
		decide(leg, c, decision_of(flow_way(c), c->blocked != NOT_DROPPED, c->blocked));
		return c->blocked == NOT_DROPPED;
	}
	c->blocked = reason_of(decision_for(leg, c->from_high));
	if (reason_of(decision_for(leg, c->from_high)) >= 0)
		return false;
	c->blocked = NOT_DROPPED;
	c->way = (struct way){ .kind = ROUTE_LOCAL, .vni = c->vni, .address = c->packet.dst };
	if (way_of(decision_for(leg, c->from_high)) == WAY_WORLD) {
		c->way.kind = ROUTE_WORLD;
		find_exit(c, c->vni, c->packet.src);
	} else {
		find_way(c);
	}
	return c->blocked == NOT_DROPPED;
}

/* A packet on the way to its gateway, which the first leg admits. */
GLOBAL int through_nat(struct __sk_buff *skb, struct crossing *c)
{
	struct control *limits = durations();
	struct flow *first, *second;
	struct flow_key key;
	struct subnet *subnet;
	struct nat *nat;
	__u32 number, row;

	if (!c || !limits)
		return ACT_DROP;
	if (!nat_takes(&c->packet))
		return drop(c->slot, DROP_nat_protocol);
	if (c->packet.more_fragments && !c->packet.fragment)
		remember_fragment(c);
	c->packet.more_fragments = 0;
	key = c->key;
	first = map_lookup(&flows, &key);
	number = c->way.number;
	nat = nat_of(number);
	/* A flow that has come another way, such as through the internet gateway, is no first leg. */
	if (!first || !nat || way_of(decision_for(first, c->from_high)) != WAY_NAT)
		return drop(c->slot, DROP_no_translation);
	if (!within_rate(RATE_OF_NAT(number), RATE_OUT, skb->len))
		return drop(c->slot, DROP_rate_exceeded);
	c->inner = c->packet.src;
	c->inner_port = source_port(&c->packet);
	c->from_nat = 1;
	c->subnet = nat->subnet;
	row = nat->subnet;
	subnet = map_lookup(&subnets, &row);
	c->mask = subnet ? subnet->mask : 0xffffffff;
	if (first->nat_address) {
		c->own = first->nat_address;
		take_second_leg(c, first->nat_address, first->nat_port, first->nat_vni);
		key = c->key;
		second = map_lookup(&flows, &key);
		if (second && second->state & FLOW_TRANSLATED && second->nat_address == c->inner &&
		    second->nat_port == c->inner_port &&
		    translation_alive(c->now_ns, second->seen_ns, second->state, limits)) {
			if (!find_second_way(c, second))
				return drop(c->slot, c->blocked);
			touch_flow(c, second, second->state);
			return send_translated(skb, c);
		}
	}
	if (c->packet.proto == PROTO_TCP && !tcp_opens(c->packet.tcp_flags))
		return answer_reset(skb, c);
	c->way.number = number;
	return ACT_OPEN_SECOND_LEG;
}

/* Names the second leg of the packet in the first one. */
GLOBAL int join_legs(struct crossing *c)
{
	struct flow *first;
	struct flow_key key;
	__be32 address;
	__be16 port;
	__u32 vni;

	if (!c)
		return false;
	address = c->packet.src;
	port = source_port(&c->packet);
	vni = c->key.vni_proto >> 8;
	take_second_leg(c, c->inner, c->inner_port, c->vni);
	key = c->key;
	first = map_lookup(&flows, &key);
	if (first) {
		first->nat_address = address;
		first->nat_port = port;
		first->nat_vni = vni;
	}
	take_second_leg(c, address, port, vni);
	return first != 0;
}

/* A new connection through a gateway: its way behind it, a port, and the second leg. */
GLOBAL int open_second_leg(struct __sk_buff *skb, struct crossing *c)
{
	__u32 number, row;
	struct nat *nat;

	if (!c)
		return ACT_DROP;
	number = c->way.number;
	nat = nat_of(number);
	if (!nat)
		return drop(c->slot, DROP_no_translation);
	/* The same sender always has the same address of the gateway. */
	row = ((c->inner * 0x9e3779b1u) >> 16) % (nat->count ?: 1);
	c->packet.src = nat->address[row & (NAT_ADDRESSES_MAX - 1)];
	c->own = c->packet.src;
	find_way(c);
	judge_first(c, false);
	if (c->reason != NOT_DROPPED)
		return drop(c->reason == DROP_security_group_ingress ? c->to_slot : c->slot, c->reason);
	if (!find_port(c, c->way.kind == ROUTE_PEERING ? c->way.number : c->vni))
		return drop(c->slot, DROP_no_translation_port);
	row = row_for(c, c->slot);
	if (c->reason == NOT_DROPPED && !store_second_leg(c, row, number, c->vni))
		c->reason = DROP_no_translation_port;
	if (c->reason != NOT_DROPPED)
		return drop(c->slot, c->reason);
	join_legs(c);
	return send_translated(skb, c);
}

/* Finds what blocks a packet back to the sender behind a gateway: out of and into the subnets of both legs. */
GLOBAL int find_way_back(struct crossing *c, __u32 number)
{
	struct endpoint_key key = {};
	struct endpoint *to;
	struct nat *nat = nat_of(number);

	if (!c)
		return 0;
	c->blocked = NOT_DROPPED;
	key.vni = c->way.vni;
	key.address = c->inner;
	to = map_lookup(&endpoints, &key);
	if (!nat || !to || !to->ifindex) {
		block(c, nat ? why_unreachable(to) : DROP_no_translation);
		return 0;
	}
	if (!c->from_world && c->subnet != nat->subnet && !acl_admits(c, c->subnet, EGRESS, c->packet.dst))
		block(c, DROP_network_acl_out);
	if ((c->from_world || c->subnet != nat->subnet) && !acl_admits(c, nat->subnet, INGRESS, c->packet.src))
		block(c, DROP_network_acl_in);
	/* The second part of the way has the sender's own port. */
	if (!is_echo(&c->packet))
		c->packet.dport = c->inner_port;
	if (to->subnet != nat->subnet && !acl_admits(c, nat->subnet, EGRESS, c->inner))
		block(c, DROP_network_acl_out);
	if (to->subnet != nat->subnet && !acl_admits(c, to->subnet, INGRESS, c->packet.src))
		block(c, DROP_network_acl_in);
	return 0;
}

/* Notes a packet on the first leg, so that it lives as long as the second one. */
INLINE void touch_first_leg(struct crossing *c)
{
	struct flow_key key = c->key;
	struct flow *first = map_lookup(&flows, &key);

	if (first)
		touch_flow(c, first, first->state);
}

/* Delivers a packet to the sender behind a gateway. */
INLINE int deliver_inner(struct __sk_buff *skb, struct crossing *c, __u32 vni)
{
	struct endpoint_key key = { .vni = vni, .address = c->inner };
	struct endpoint *to = map_lookup(&endpoints, &key);

	if (!to || !to->ifindex)
		return drop(c->slot, why_unreachable(to));
	return pass(skb, c, to->ifindex, to->slot, to->mac);
}

/* A packet from the other end to a NAT gateway's address, whose second leg is in c->key. */
GLOBAL int back_through_nat(struct __sk_buff *skb, struct crossing *c)
{
	struct flow_key key;
	struct flow *second;
	__be16 outer_port;
	__u32 vni;

	if (!c)
		return ACT_DROP;
	key = c->key;
	second = map_lookup(&flows, &key);
	if (!second || !answers_translation(second, &c->packet))
		return drop(c->slot, DROP_no_translation);
	if (!within_rate(RATE_OF_NAT(device_of(second, !c->from_high) & ~NAT_DEVICE), RATE_OUT, skb->len))
		return drop(c->slot, DROP_rate_exceeded);
	if (c->packet.more_fragments && !c->packet.fragment)
		remember_fragment(c);
	c->packet.more_fragments = 0;
	outer_port = is_echo(&c->packet) ? c->packet.icmp_id : c->packet.dport;
	c->inner = second->nat_address;
	c->inner_port = second->nat_port;
	vni = second->nat_vni;
	if (decided_at(second, c->from_high) != c->epoch) {
		c->way.vni = vni;
		find_way_back(c, device_of(second, !c->from_high) & ~NAT_DEVICE);
		decide(second, c, decision_of(WAY_DELIVER, c->blocked != NOT_DROPPED, c->blocked));
	}
	if (decision_for(second, c->from_high))
		return drop(second->owner, reason_of(decision_for(second, c->from_high)));
	touch_flow(c, second, second->state);
	c->packet.dst = c->inner;
	if (is_echo(&c->packet))
		c->packet.icmp_id = c->inner_port;
	else
		c->packet.dport = c->inner_port;
	c->from_high = c->packet.src > c->packet.dst;
	c->key = flow_key_of(&c->packet, vni);
	touch_first_leg(c);
	if (!rewrite_port(skb, &c->packet, is_echo(&c->packet) ? L4_ICMP_ID : L4_DESTINATION, outer_port,
			  c->inner_port) ||
	    !rewrite_address(skb, &c->packet, IP_DESTINATION, c->sent_to, c->inner))
		return drop(c->slot, DROP_malformed);
	return deliver_inner(skb, c, vni);
}

/* An ICMP error about a packet of a second leg, from any router. It is related to the connection: no groups. */
GLOBAL int error_through_nat(struct __sk_buff *skb, struct crossing *c)
{
	struct packet inner = {};
	struct flow *second;
	struct flow_key key;
	struct ipv4 ip = {};
	struct l4 l4 = {};
	__u32 at, vni;

	if (!c)
		return ACT_DROP;
	at = c->packet.header_bytes + L4_BYTES;
	if (skb_load(skb, at, &ip, sizeof(ip)) || take_ipv4(&inner, &ip) != NOT_DROPPED || inner.fragment ||
	    !has_l4(&inner) || inner.src != c->sent_to)
		return drop(c->slot, DROP_no_translation);
	at += inner.header_bytes - ETHERNET_BYTES;
	if (skb_load(skb, at, &l4, sizeof(l4)))
		return drop(c->slot, DROP_no_translation);
	take_l4(&inner, &l4);
	inner.src = c->packet.dst;
	key = flow_key_of(&inner, c->vni);
	second = map_lookup(&flows, &key);
	if (!second || !(second->state & FLOW_TRANSLATED))
		return drop(c->slot, DROP_no_translation);
	c->inner = second->nat_address;
	c->inner_port = second->nat_port;
	vni = second->nat_vni;
	c->way.vni = vni;
	find_way_back(c, device_of(second, inner.src > inner.dst) & ~NAT_DEVICE);
	if (c->blocked != NOT_DROPPED)
		return drop(second->owner, c->blocked);
	if (!rewrite_inner_address(skb, &c->packet, IP_SOURCE, c->sent_to, c->inner) ||
	    !rewrite_inner_port(skb, &c->packet, at + (is_echo(&inner) ? L4_ICMP_ID : L4_SOURCE),
				source_port(&inner), c->inner_port) ||
	    !rewrite_address(skb, &c->packet, IP_DESTINATION, c->sent_to, c->inner))
		return drop(c->slot, DROP_malformed);
	return deliver_inner(skb, c, vni);
}

#endif
