// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The port of a VPC: a program on the ingress of every interface's fabric-side device, and one on the device that leads
 * to the world. They see each packet first, and either hand it to the receiving interface or to the world, or drop it
 * with a reason. No packet reaches the network stack of the fabric's own namespace.
 *
 * Order: known interface -> ARP -> source address -> flow table -> egress rules of the sender -> its subnet's ACL ->
 * route -> target -> ACL of the target's subnet -> ingress rules of the receiver. Decisions on values alone are in
 * verdict.h, parsing in parse.h, ways in ways.h, flow records in flows.h, translation in translate.h, world.h and nat.h, and
 * the cache of recent flows in recent.h.
 */
#include "maps.h"
#include "verdict.h"
#include "count.h"
#include "parse.h"
#include "answers.h"
#include "gates.h"
#include "recent.h"
#include "nat.h"

/* The slot that counts a packet dropped for this reason: the end whose groups or subnet deny it. */
INLINE __u32 counting_slot(const struct crossing *c, __u16 reason)
{
	bool is_receivers = reason == DROP_security_group_ingress || reason == DROP_network_acl_in;

	return is_receivers && c->to_slot ? c->to_slot : c->slot;
}

/* Lets a packet continue that nothing denies. */
NOINLINE int go(struct __sk_buff *skb, struct crossing *c)
{
	if (c->way.kind == ROUTE_NAT)
		return ACT_THROUGH_NAT;
	if (c->way.kind != ROUTE_WORLD)
		return pass(skb, c, c->to_ifindex, c->to_slot, c->next_mac);
	count_passed(c->slot, 0, skb->gso_segs ?: 1, skb->len);
	if (c->packet.more_fragments && !c->packet.fragment)
		remember_fragment(c);
	return leave(skb, c, c->packet.src, c->way.address);
}

/* A packet without a flow, whose way is found: gates and obstacles decide, and a new flow records the decision. */
INLINE int first_packet(struct __sk_buff *skb, struct crossing *c)
{
	bool is_related = related_to_flow(skb, &c->packet, c->key.vni_proto >> 8, c->now_ns, c->from_world);
	__u32 admitted = judge_first(c, is_related), row;

	if (c->reason != NOT_DROPPED)
		return drop(counting_slot(c, c->reason), c->reason);
	/* What a gateway translates is always tracked. */
	if (c->way.kind == ROUTE_NAT)
		admitted = 0;
	if (!is_related && opens_flow(&c->packet)) {
		row = row_for(c, c->from_world ? c->to_slot : c->slot);
		if (c->reason == NOT_DROPPED && !store_flow(skb, c, admitted, row))
			c->reason = DROP_flow_table_full;
		if (c->reason != NOT_DROPPED)
			return drop(c->slot, c->reason);
	}
	return go(skb, c);
}

INLINE bool is_delivered(const struct flow *f, bool from_high)
{
	return !decision_for(f, from_high);
}

/* A packet of a known flow, after the fast path has left it. */
NOINLINE int next_slowly(struct __sk_buff *skb, struct crossing *c, struct flow *f)
{
	__u32 ifindex = device_of(f, !c->from_high), row = ifindex % ENI_ROWS;
	int reason = reason_of(decision_for(f, c->from_high));
	struct eni *to;

	c->to_slot = c->from_high ? f->slot[0] : f->slot[1];
	if (reason >= 0)
		return drop(counting_slot(c, reason), reason);
	if (f->state & FLOW_CUT) {
		f->seen_ns = c->now_ns;
		return drop(c->slot, DROP_rule_removed);
	}
	if (is_delivered(f, c->from_high)) {
		to = map_lookup(&enis, &row);
		if (!to || to->ifindex != ifindex)
			return drop(c->slot, DROP_not_plugged);
		touch_flow(c, f, f->state);
		return pass(skb, c, ifindex, to->slot, to->mac);
	}
	if (way_of(decision_for(f, c->from_high)) == WAY_NAT) {
		c->way.number = ifindex & ~NAT_DEVICE;
		touch_flow(c, f, f->state);
		return ACT_THROUGH_NAT;
	}
	c->way.kind = ROUTE_WORLD;
	c->blocked = NOT_DROPPED;
	find_exit(c, c->vni, c->packet.src);
	if (c->blocked != NOT_DROPPED)
		return drop(c->slot, c->blocked);
	touch_flow(c, f, f->state);
	return go(skb, c);
}

/* True if the sender of a packet of a cut flow opens another one in its place. */
INLINE bool opens_anew(const struct crossing *c, __u32 state)
{
	return state & FLOW_CUT && c->packet.proto == PROTO_UDP && c->from_high != !!(state & FLOW_FROM_HIGH);
}

/*
 * Everything but an undisturbed packet of a known flow between interfaces. A packet to a peer VPC has a flow in the
 * name of the peering, which its route says.
 */
GLOBAL int cross_slowly(struct __sk_buff *skb, struct crossing *c)
{
	struct flow *f;

	if (!c)
		return ACT_DROP;
	f = carrying_flow(skb, c);
	if (!f || decided_at(f, c->from_high) != c->epoch) {
		find_way(c);
		if (c->way.kind == ROUTE_PEERING) {
			c->key.vni_proto = c->way.number << 8 | c->packet.proto;
			f = carrying_flow(skb, c);
		}
	}
	if (f && answers_translation(f, &c->packet))
		return ACT_BACK_THROUGH_NAT;
	if (f && (decided_at(f, c->from_high) == c->epoch || judge_again(c, f)) && !opens_anew(c, f->state))
		return next_slowly(skb, c, f);
	if (f && decided_at(f, c->from_high) == c->epoch)
		find_way(c);
	return first_packet(skb, c);
}

/* Continues with what cross_slowly() says: not in it, because there the stack ends. */
INLINE int finish(struct __sk_buff *skb, struct crossing *c, int act)
{
	if (act == ACT_THROUGH_NAT)
		act = through_nat(skb, c);
	if (act == ACT_OPEN_SECOND_LEG)
		return open_second_leg(skb, c);
	if (act == ACT_BACK_THROUGH_NAT)
		return back_through_nat(skb, c);
	return act;
}

INLINE int cross(struct __sk_buff *skb, struct crossing *c, const struct eni *from)
{
	struct recent *r = recent_row(&c->key);
	struct flow *f;
	struct eni *to;
	__u32 ifindex, row;

	if (r && recent_holds(r, c, skb->ifindex))
		return c->from_high ? pass_freely(skb, c, r->ifindex[0], r->slot[0], r->mac[0])
				    : pass_freely(skb, c, r->ifindex[1], r->slot[1], r->mac[1]);
	f = carrying_flow(skb, c);
	if (!f || decided_at(f, c->from_high) != c->epoch || !is_delivered(f, c->from_high) ||
	    f->state & (FLOW_CUT | FLOW_TRANSLATED))
		return finish(skb, c, cross_slowly(skb, c));
	ifindex = device_of(f, !c->from_high);
	row = ifindex % ENI_ROWS;
	to = map_lookup(&enis, &row);
	if (!to || to->ifindex != ifindex)
		return drop(c->slot, DROP_not_plugged);
	touch_flow(c, f, f->state);
	if ((from->flags | to->flags) & ENI_LIMITED)
		return pass(skb, c, ifindex, to->slot, to->mac);
	if (r)
		remember_flow(r, c, f, from, to);
	return pass_freely(skb, c, ifindex, to->slot, to->mac);
}

/* The edge of the fabric: the ingress of the devices that lead to the host and to the regional endpoints. */
SECTION("classifier")
int fabric_world(struct __sk_buff *skb)
{
	struct crossing c = { .from_world = 1 };
	struct world *world = the_world();
	struct public_owner *owner;
	__be32 sent_to;
	bool is_of_endpoint;
	__u16 reason;

	if (!world || (world->ifindex != skb->ifindex && world->edge_ifindex != skb->ifindex))
		return drop(0, DROP_not_programmed);
	is_of_endpoint = world->ifindex != skb->ifindex;
	reason = world_ethertype(skb, c.to_mac);
	if (reason == ETHERNET_ARP)
		return is_of_endpoint ? drop(0, DROP_arp_unanswered) : answer_world_arp(skb, world);
	if (reason == NOT_DROPPED)
		reason = parse_ipv4(skb, &c.packet);
	if (reason != NOT_DROPPED)
		return drop(0, reason);
	if (is_of_endpoint)
		return from_endpoint(skb, world, &c.packet);
	if (is_endpoint(world, c.packet.dst))
		return to_endpoint(skb, world);
	if (is_endpoint(world, c.packet.src) && skb->mark != MARK_OF_EDGE)
		return drop(0, DROP_spoofed_address);
	sent_to = c.packet.dst;
	owner = map_lookup(&privates, &sent_to);
	if (!owner)
		return drop(0, DROP_public_address_unused);
	c.packet.dst = owner->address;
	c.vni = owner->vni;
	if (c.packet.fragment && !recall_fragment(&c))
		return drop(0, DROP_fragment);
	if (!read_control(&c))
		return drop(0, DROP_no_policy);
	c.sent_to = sent_to;
	c.from_high = c.packet.src > c.packet.dst;
	c.key = flow_key_of(&c.packet, c.vni);
	if (owner->kind == OWNER_NAT && is_icmp_error(&c.packet))
		return error_through_nat(skb, &c);
	if (owner->kind == OWNER_NAT)
		return carrying_flow(skb, &c) ? back_through_nat(skb, &c) : drop(0, DROP_no_translation);
	if (!rewrite_address(skb, &c.packet, IP_DESTINATION, sent_to, c.packet.dst) ||
	    !rewrite_inner_address(skb, &c.packet, IP_SOURCE, sent_to, c.packet.dst))
		return drop(0, DROP_malformed);
	return finish(skb, &c, cross_slowly(skb, &c));
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
	c.slot = eni->slot;
	c.vni = eni->vni;
	c.own = eni->address;
	c.mask = eni->mask;
	c.subnet = eni->subnet;
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
	if (eni->flags & ENI_LIMITED && !within_rate(eni->slot, RATE_OUT, skb->len))
		return drop(c.slot, DROP_rate_exceeded);
	if (c.packet.dst == eni->router)
		return answer_echo(skb, &c.packet, eni);
	if (c.packet.fragment && !recall_fragment(&c))
		return drop(c.slot, DROP_fragment);
	if (!read_control(&c))
		return drop(c.slot, DROP_no_policy);
	c.sent_to = c.packet.dst;
	c.from_high = c.packet.src > c.packet.dst;
	c.key = flow_key_of(&c.packet, eni->vni);
	return cross(skb, &c, eni);
}

char LICENSE[] SECTION("license") = "GPL";
