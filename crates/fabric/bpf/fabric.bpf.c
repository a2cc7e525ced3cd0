// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The port of a VPC: one program on the ingress of every interface's fabric-side device. It sees each packet of a
 * task first, and either delivers it into the namespace of the receiving interface or drops it with a reason. No
 * packet reaches the network stack of the fabric's own namespace.
 *
 * Order: known interface -> ARP -> source address -> flow table -> endpoint -> egress rules of the sender -> ingress
 * rules of the receiver. Decisions on values alone are in verdict.h, parsing in parse.h, flow records in flows.h, and
 * the cache of recent flows in recent.h.
 */
#include "maps.h"
#include "verdict.h"
#include "count.h"
#include "parse.h"
#include "answers.h"
#include "gates.h"
#include "recent.h"

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

INLINE int pass(struct __sk_buff *skb, struct crossing *c, __u32 ifindex, __u16 to_slot, const __u8 *mac)
{
	count_passed(c->slot, to_slot, skb->gso_segs ?: 1, skb->len);
	if (c->packet.more_fragments && !c->packet.fragment)
		remember_fragment(c);
	return deliver(skb, c, ifindex, mac);
}

/* A packet without a flow: both gates decide, and a new flow records the decision. */
NOINLINE int first_packet(struct __sk_buff *skb, struct crossing *c)
{
	struct endpoint *to = find_receiver(c);
	__u32 admitted;

	if (!to)
		return drop(c->slot, c->reason);
	if (related_to_flow(skb, &c->packet, c->eni->vni, c->now_ns))
		return pass(skb, c, to->ifindex, to->slot, to->mac);
	admitted = judge_both(c, to);
	if (c->reason != NOT_DROPPED)
		return drop(c->reason == DROP_security_group_ingress ? to->slot : c->slot, c->reason);
	if (opens_flow(&c->packet) && !insert_flow(skb, c, to, admitted))
		return drop(c->slot, c->reason);
	return pass(skb, c, to->ifindex, to->slot, to->mac);
}

/* A packet of a known flow. */
INLINE int next_packet(struct __sk_buff *skb, struct crossing *c, struct flow *f, struct recent *r)
{
	__u32 state = f->state, ifindex = device_of(f, !c->from_high), row = ifindex % ENI_ROWS;
	struct eni *to = map_lookup(&enis, &row);

	if (!to || to->ifindex != ifindex)
		return drop(c->slot, DROP_not_plugged);
	if (state & FLOW_CUT) {
		f->seen_ns = c->now_ns;
		return drop(c->slot, DROP_rule_removed);
	}
	touch_flow(c, f, state);
	if (r)
		remember_flow(r, c, f, to);
	return pass(skb, c, ifindex, to->slot, to->mac);
}

/* True if the sender of a packet of a cut flow opens another one in its place. */
INLINE bool opens_anew(const struct crossing *c, __u32 state)
{
	return state & FLOW_CUT && c->packet.proto == PROTO_UDP && c->from_high != !!(state & FLOW_FROM_HIGH);
}

/* The live flow of a packet. The gates decide again only if policy or membership changed since the last packet. */
INLINE struct flow *known_flow(struct __sk_buff *skb, struct crossing *c)
{
	struct flow *f = map_lookup(&flows, &c->key);

	if (!f || !flow_carries(f, &c->packet, skb->ifindex, c->now_ns))
		return 0;
	if (f->epoch != c->epoch && !judge_again(c, f))
		return 0;
	return opens_anew(c, f->state) ? 0 : f;
}

INLINE int cross(struct __sk_buff *skb, struct crossing *c)
{
	struct recent *r = recent_row(&c->key);
	struct flow *f;

	if (r && recent_holds(r, c, skb->ifindex))
		return c->from_high ? pass(skb, c, r->ifindex[0], r->slot[0], r->mac[0])
				    : pass(skb, c, r->ifindex[1], r->slot[1], r->mac[1]);
	f = known_flow(skb, c);
	return f ? next_packet(skb, c, f, r) : first_packet(skb, c);
}

SECTION("classifier")
int fabric_port(struct __sk_buff *skb)
{
	struct crossing c = {};
	__u32 row = skb->ifindex % ENI_ROWS;
	struct eni *eni = map_lookup(&enis, &row);
	__u16 reason;

	if (!eni || eni->ifindex != skb->ifindex)
		return drop(0, DROP_not_programmed);
	c.eni = eni;
	c.slot = eni->slot;
	reason = check_ethernet(skb, eni, c.to_mac);
	if (reason == ETHERNET_ARP)
		return answer_arp(skb, eni);
	if (reason != NOT_DROPPED)
		return drop(c.slot, reason);
	reason = parse_ipv4(skb, &c.packet);
	if (reason != NOT_DROPPED)
		return drop(c.slot, reason);
	reason = check_addresses(&c.packet, eni);
	if (reason != NOT_DROPPED)
		return drop(c.slot, reason);
	if (c.packet.dst == eni->router)
		return answer_echo(skb, &c.packet, eni);
	if (c.packet.fragment && !recall_fragment(&c))
		return drop(c.slot, DROP_fragment);
	if (!read_control(&c))
		return drop(c.slot, DROP_no_policy);
	c.from_high = c.packet.src > c.packet.dst;
	c.key = flow_key_of(&c.packet, eni->vni);
	return cross(skb, &c);
}

char LICENSE[] SECTION("license") = "GPL";
