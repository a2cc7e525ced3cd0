/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The way of a packet between two ends: the route table and the network ACL of the subnet it leaves, the target of the
 * route, and the network ACL of the subnet it enters. Security groups are in gates.h.
 */
#ifndef BERTH_WAYS_H
#define BERTH_WAYS_H

#include "answers.h"

/* The target of a packet. */
struct way {
	__u32 kind;     /* enum route_kind */
	__u32 vni;      /* of `address` */
	__be32 address; /* of the receiving interface; of the sender in public, on the way to the world */
	__u32 number;   /* of the NAT gateway, or of the peering */
};

/*
 * One packet in transit; filled once, read by every later step. It holds no pointers, so that functions that are
 * verified once can take it.
 */
struct crossing {
	struct packet packet;
	struct flow_key key;
	__u64 epoch;
	__u64 now_ns;
	struct way way;
	__u32 vni;        /* of the sender; for packets from the world, of the receiver */
	__be32 own, mask; /* the sending interface's; 0 for packets from the world */
	__u32 to_ifindex; /* device of the other end */
	__u8 to_mac[6] __attribute__((aligned(4)));   /* as in the frame */
	__u8 next_mac[6] __attribute__((aligned(4))); /* of the receiving interface */
	__u16 to_slot;
	__u16 to_group_set; /* 0 for an end outside */
	__u16 subnet;       /* of the sender */
	__u16 slot;
	__u16 reason;  /* drop reason of the last failed step */
	__u16 blocked; /* drop reason of the first obstacle on the way, or NOT_DROPPED */
	__be16 inner_port; /* the sender's port behind a NAT gateway */
	__be32 inner;      /* the sender's address behind it */
	__be32 sent_to;    /* destination in the frame, before translation */
	__u8 from_nat;     /* the sender is a NAT gateway, which has no groups */
	__u8 from_high;
	__u8 side; /* the valid side of policies, endpoints and subnets */
	__u8 from_world;
};

INLINE void block(struct crossing *c, __u16 reason)
{
	if (c->blocked == NOT_DROPPED)
		c->blocked = reason;
}

/* Both sides are spelled out, as in gates.h. */
INLINE __u32 acl_of(const struct subnet *subnet, __u32 side, __u8 direction)
{
	if (side)
		return direction ? subnet->acl[1][1] : subnet->acl[1][0];
	return direction ? subnet->acl[0][1] : subnet->acl[0][0];
}

/*
 * True if the ACL of a subnet admits the packet out of it (EGRESS) or into it. `other` is the address at the other end.
 * Number 0 is no ACL.
 */
GLOBAL int acl_admits(const struct crossing *c, __u32 row, __u32 direction, __be32 other)
{
	struct address_key address_key = { .prefix_bits = 64, .address = other };
	struct port_key port_key = { .prefix_bits = 64 - 8 };
	struct question port = {};
	struct subnet *subnet;
	__u32 acl;

	if (!c)
		return false;
	subnet = map_lookup(&subnets, &row);
	acl = subnet ? acl_of(subnet, c->side, direction) : 0;
	if (!acl)
		return true;
	name_port(&port, &c->packet, false);
	port_key.ruleset = address_key.ruleset = acl;
	port_key.proto = port.proto;
	port_key.port[0] = port.port[0];
	port_key.port[1] = port.port[1];
	return first_match_admits(map_lookup(&acl_addresses, &address_key), map_lookup(&acl_ports, &port_key));
}

/* The longest prefix of the sender's route table. */
INLINE void take_route(struct crossing *c, __u32 row)
{
	struct route_key key = { 64, 0, c->packet.dst };
	struct subnet *subnet = map_lookup(&subnets, &row);
	struct route *route;

	if (subnet)
		key.table = c->side ? subnet->route_table[1] : subnet->route_table[0];
	if (never_routed(c->packet.dst)) {
		c->way.kind = ROUTE_NONE;
		return;
	}
	if (!key.table) {
		c->way.kind = in_vpc(c->vni, c->packet.dst) ? ROUTE_LOCAL : ROUTE_NONE;
		return;
	}
	route = map_lookup(&routes, &key);
	c->way.kind = route ? route->kind : ROUTE_NONE;
	if (!route)
		return;
	c->way.vni = route->vni;
	c->way.number = route->number;
	if (c->way.kind == ROUTE_INTERFACE)
		c->way.address = route->address;
}

INLINE bool stays_in_subnet(const struct crossing *c)
{
	return !c->from_world && !((c->packet.dst ^ c->own) & c->mask);
}

/* True if the way ends at an interface. */
INLINE bool ends_at_interface(const struct crossing *c)
{
	return c->way.kind == ROUTE_LOCAL || c->way.kind == ROUTE_INTERFACE || c->way.kind == ROUTE_PEERING;
}

INLINE __u16 why_unreachable(const struct endpoint *to)
{
	if (!to)
		return DROP_no_endpoint;
	return to->flags & ENDPOINT_OTHER_HOST ? DROP_other_host : DROP_not_plugged;
}

INLINE __u32 group_set_of(const struct endpoint *endpoint, __u32 side)
{
	return side ? endpoint->group_set[1] : endpoint->group_set[0];
}

/* The interface at the end of the way, if it is plugged here and may receive the packet. */
INLINE void find_receiver(struct crossing *c)
{
	struct endpoint_key key = { .vni = c->way.vni, .address = c->way.address };
	struct endpoint *to = map_lookup(&endpoints, &key);

	/* The sender's rules may name its groups wherever it is. */
	if (to)
		c->to_group_set = group_set_of(to, c->side);
	if (!to || !to->ifindex) {
		block(c, why_unreachable(to));
		return;
	}
	c->to_ifindex = to->ifindex;
	c->to_slot = to->slot;
	__builtin_memcpy(c->next_mac, to->mac, 6);
	if (c->packet.dst != c->way.address && !(to->flags & ENDPOINT_FORWARDS))
		block(c, DROP_not_forwarding);
	if (!stays_in_subnet(c) && !acl_admits(c, to->subnet, INGRESS, c->packet.src))
		block(c, DROP_network_acl_in);
}

INLINE struct world *the_world(void)
{
	__u32 zero = 0;
	struct world *world = map_lookup(&worlds, &zero);

	return world && world->ifindex ? world : (void *)0;
}

/* The internet gateway: the sender needs a public address, which becomes the address of the way. */
INLINE void find_exit(struct crossing *c, __u32 vni, __be32 sender)
{
	struct endpoint_key key = { .vni = vni, .address = sender };
	struct public_owner *public = map_lookup(&publics, &key);
	struct world *world = the_world();

	if (!public)
		block(c, DROP_no_public_address);
	else
		c->way.address = public->address;
	if (!world)
		block(c, DROP_no_world);
	else
		c->to_ifindex = world->ifindex;
}

/* Stands for a device in flows whose other end is a NAT gateway; its number is added. */
#define NAT_DEVICE 0x80000000u

INLINE struct nat *nat_of(__u32 number)
{
	struct nat *nat = map_lookup(&nats, &number);

	return nat && nat->count ? nat : (void *)0;
}

INLINE bool nat_takes(const struct packet *p)
{
	if (p->proto == PROTO_UDP)
		return true;
	if (p->fragment || p->more_fragments)
		return false;
	return p->proto == PROTO_TCP || p->proto == PROTO_ICMP;
}

/* The first leg to a NAT gateway: into its subnet, untranslated. */
INLINE void find_nat(struct crossing *c)
{
	struct nat *nat = nat_of(c->way.number);

	if (c->from_nat || !nat) {
		block(c, DROP_blackhole);
		return;
	}
	c->to_ifindex = NAT_DEVICE | c->way.number;
	if (!(nat->flags & NAT_HERE))
		block(c, DROP_other_host);
	if (nat->subnet != c->subnet && !acl_admits(c, nat->subnet, INGRESS, c->packet.src))
		block(c, DROP_network_acl_in);
	if (!nat_takes(&c->packet))
		block(c, DROP_nat_protocol);
}

/*
 * Finds the target of the packet, and notes the first obstacle on the way that is not a security group. The device of
 * the other end is 0 if there is none.
 */
GLOBAL int find_way(struct crossing *c)
{
	if (!c)
		return 0;
	c->way = (struct way){ .kind = ROUTE_LOCAL, .vni = c->vni, .address = c->packet.dst };
	c->blocked = NOT_DROPPED;
	c->to_ifindex = 0;
	c->to_slot = c->to_group_set = 0;
	if (!c->from_world && !stays_in_subnet(c)) {
		if (!acl_admits(c, c->subnet, EGRESS, c->packet.dst))
			block(c, DROP_network_acl_out);
		take_route(c, c->subnet);
	}
	/* Rules that name ranges of the VPC must not admit what only pretends to come from there. */
	if (c->from_world && in_vpc(c->vni, c->packet.src))
		block(c, DROP_spoofed_address);
	if (ends_at_interface(c))
		find_receiver(c);
	else if (c->way.kind == ROUTE_WORLD)
		find_exit(c, c->vni, c->packet.src);
	else if (c->way.kind == ROUTE_NAT)
		find_nat(c);
	else
		block(c, c->way.kind == ROUTE_BLACKHOLE ? DROP_blackhole : DROP_no_route);
	return 0;
}

#endif
