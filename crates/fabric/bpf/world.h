/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The internet gateway: a pair of devices leads from the fabric to the host, which is the world to every VPC. Private
 * and public addresses are translated one to one, without state.
 */
#ifndef BERTH_WORLD_H
#define BERTH_WORLD_H

#include "translate.h"

INLINE bool is_in_pool(const struct world *world, __be32 address)
{
	return !((address ^ world->pool) & world->mask);
}

/* True if an interface of this host has the public address: the packet turns round at the edge. */
INLINE bool returns_at_edge(const struct world *world, __be32 address)
{
	return is_in_pool(world, address) && map_lookup(&privates, &address);
}

INLINE bool is_endpoint(const struct world *world, __be32 address)
{
	return world->edge_ifindex && !((address ^ world->endpoints) & world->endpoints_mask);
}

/* Marks packets of the regional endpoints on the device of the world, where others must not have their addresses. */
#define MARK_OF_EDGE 0x45444745

/*
 * Sends a packet to the world, with the private source address replaced by the public one. A packet for a public
 * address of this host enters again as if the world had sent it.
 */
GLOBAL int leave(struct __sk_buff *skb, const struct crossing *c, __be32 private, __be32 public)
{
	struct ethernet ethernet = { .type = be16(ETHERTYPE_IPV4) };
	struct world *world = the_world();

	if (!c)
		return ACT_DROP;
	if (!world)
		return drop(c->slot, DROP_no_world);
	if (is_endpoint(world, c->packet.dst)) {
		__builtin_memcpy(ethernet.dst, world->edge_peer_mac, 6);
		__builtin_memcpy(ethernet.src, world->edge_mac, 6);
	} else {
		__builtin_memcpy(ethernet.dst, world->peer_mac, 6);
		__builtin_memcpy(ethernet.src, world->mac, 6);
	}
	if (!rewrite_address(skb, &c->packet, IP_SOURCE, private, public) ||
	    !rewrite_inner_address(skb, &c->packet, IP_DESTINATION, private, public) ||
	    skb_store(skb, 0, &ethernet, sizeof(ethernet), 0))
		return drop(c->slot, DROP_malformed);
	if (is_endpoint(world, c->packet.dst))
		return redirect(world->edge_ifindex, 0);
	return redirect(world->ifindex, returns_at_edge(world, c->packet.dst) ? BPF_F_INGRESS : 0);
}

/* Answers for every address of the pool but the host's own. */
NOINLINE int answer_world_arp(struct __sk_buff *skb, struct world *world)
{
	struct {
		struct ethernet ethernet;
		struct arp arp;
	} frame = {};
	__be32 target;

	if (skb_load(skb, 0, &frame, sizeof(frame)))
		return drop(0, DROP_malformed);
	target = address_of(frame.arp.target_address);
	if (frame.arp.hardware != be16(ARP_ETHERNET) || frame.arp.protocol != be16(ETHERTYPE_IPV4) ||
	    frame.arp.operation != be16(ARP_REQUEST) || !is_in_pool(world, target) || target == world->host)
		return drop(0, DROP_arp_unanswered);
	__builtin_memcpy(frame.ethernet.dst, frame.arp.sender_mac, 6);
	__builtin_memcpy(frame.ethernet.src, world->mac, 6);
	frame.arp.operation = be16(ARP_REPLY);
	__builtin_memcpy(frame.arp.target_mac, frame.arp.sender_mac, 6);
	__builtin_memcpy(frame.arp.target_address, frame.arp.sender_address, 4);
	__builtin_memcpy(frame.arp.sender_mac, world->mac, 6);
	__builtin_memcpy(frame.arp.sender_address, &target, 4);
	if (skb_store(skb, 0, &frame, sizeof(frame), 0))
		return drop(0, DROP_malformed);
	return redirect(skb->ifindex, 0);
}

/* A packet of the host for an endpoint. */
NOINLINE int to_endpoint(struct __sk_buff *skb, struct world *world)
{
	struct ethernet ethernet = { .type = be16(ETHERTYPE_IPV4) };

	__builtin_memcpy(ethernet.dst, world->edge_peer_mac, 6);
	__builtin_memcpy(ethernet.src, world->edge_mac, 6);
	if (skb_store(skb, 0, &ethernet, sizeof(ethernet), 0))
		return drop(0, DROP_malformed);
	return redirect(world->edge_ifindex, 0);
}

/*
 * A packet of an endpoint: to a public address of this host as if the world had sent it, else to the host. It has the
 * address of an endpoint, so it cannot pretend to be of anything else.
 */
NOINLINE int from_endpoint(struct __sk_buff *skb, struct world *world, const struct packet *p)
{
	struct ethernet ethernet = { .type = be16(ETHERTYPE_IPV4) };

	if (!is_endpoint(world, p->src))
		return drop(0, DROP_spoofed_address);
	if (returns_at_edge(world, p->dst)) {
		skb->mark = MARK_OF_EDGE;
		return redirect(world->ifindex, BPF_F_INGRESS);
	}
	__builtin_memcpy(ethernet.dst, world->peer_mac, 6);
	__builtin_memcpy(ethernet.src, world->mac, 6);
	if (skb_store(skb, 0, &ethernet, sizeof(ethernet), 0))
		return drop(0, DROP_malformed);
	return redirect(world->ifindex, 0);
}

INLINE __u16 world_ethertype(struct __sk_buff *skb, __u8 *to)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct ethernet *ethernet = data;

	if (data + sizeof(*ethernet) > end)
		return DROP_malformed;
	*(__u32 *)to = *(const __u32 *)ethernet->dst;
	*(__u16 *)(to + 4) = *(const __u16 *)(ethernet->dst + 4);
	if (ethernet->type == be16(ETHERTYPE_ARP))
		return ETHERNET_ARP;
	if (ethernet->type == be16(ETHERTYPE_IPV4))
		return NOT_DROPPED;
	return ethernet->type == be16(ETHERTYPE_IPV6) ? DROP_ipv6 : DROP_ethertype;
}

#endif
