/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Layout of the maps' contents, shared with src/bpf/layout.rs, which asserts the same sizes. Addresses and ports are
 * in network order unless noted otherwise. A change here needs a new LAYOUT_VERSION there.
 */
#ifndef BERTH_LAYOUT_H
#define BERTH_LAYOUT_H

#include <linux/types.h>
#include <stdbool.h>

#define BITMAP_WORDS 16 /* 1024 rules: the limit of AWS per interface and direction */

/* One bit per rule of a ruleset. */
struct bitmap {
	__u64 word[BITMAP_WORDS];
};

/* A parsed packet, filled once by parse(); every check reads it, none parses again. */
struct packet {
	__be32 src, dst;
	__be16 sport, dport; /* 0 for protocols without ports */
	__be16 icmp_id;
	__u8 icmp_type, icmp_code;
	__u8 proto, tcp_flags;
	__u8 fragment; /* a later fragment: its ports are those of the first one */
	__u8 more_fragments;
	__be16 ip_id;
	__u16 header_bytes; /* Ethernet and IP headers */
};

/*
 * An interface plugged on this host. One cache line, found by the lowest bits of its fabric-side device's index; the
 * whole index shows whether the row is in use. The node chooses indexes so that no two interfaces share a row.
 */
struct eni {
	__u32 ifindex;
	__u32 vni;
	__be32 address, mask, router;
	__u16 slot; /* its row of counters */
	__u16 flags;
	__u8 mac[6];
	__u8 pad[2];
	__u8 id[24]; /* EniId as text, for programs that list interfaces */
	__u16 subnet; /* row of `subnets` */
	__u8 rest[6];
};
#define ENI_ROWS 8192
enum { ENI_SOURCE_DEST_CHECK = 1, ENI_LIMITED = 2 /* it has a row of `rates` */ };

struct endpoint_key {
	__u32 vni;
	__be32 address;
};

/*
 * An interface anywhere in the VPC. `group_set` has two sides; `control.epoch` selects the valid one (see
 * src/fabric/program.rs), so that any number of endpoints and policies change in one step.
 */
struct endpoint {
	__u32 ifindex; /* fabric-side device, 0 while not plugged here */
	__u16 slot;
	__u16 flags;
	__u16 group_set[2];
	__u8 mac[6];
	__u16 subnet; /* row of `subnets` */
	__u8 rest[12];
};
enum { ENDPOINT_OTHER_HOST = 1, ENDPOINT_FORWARDS = 2 /* its source/destination check is off */ };

/*
 * A subnet. Row 0 is every subnet of which nothing is known: it has the local routes of `vpc_cidrs`, and no ACL. Route
 * table and ACLs have two sides as policies have; ACLs by side and direction as seen from the subnet, EGRESS: out of
 * it. Number 0 stands for no route table and for no ACL, which admits everything.
 */
struct subnet {
	__u32 vni;
	__be32 network, mask;
	__u32 route_table[2];
	__u32 acl[2][2];
	__u8 rest[12];
};
#define SUBNETS_MAX 16384

struct route_key {
	__u32 prefix_bits;
	__u32 table;
	__be32 destination;
};

/* Target of a route. */
struct route {
	__u32 kind;
	__u32 vni;       /* of the addresses behind it */
	__u32 number;    /* NAT gateway, or peering as it stands in flow keys */
	__be32 address;  /* of an interface */
	__u8 rest[8];
};
enum route_kind {
	ROUTE_NONE,
	ROUTE_LOCAL,
	ROUTE_BLACKHOLE,
	ROUTE_WORLD,
	ROUTE_NAT,
	ROUTE_INTERFACE,
	ROUTE_PEERING,
};

/* The entries of an ACL in one direction, the lowest bit first. */
#define ACL_ENTRIES_MAX 64
struct acl_row {
	__u64 entries; /* that match the key */
	__u64 admit;   /* of all entries, those that admit */
};

/* A public address and the private one it stands for, in both directions. */
struct public_owner {
	__u32 vni;
	__be32 address;
	__u32 kind;
	__u8 rest[12];
};
enum { OWNER_INTERFACE = 1, OWNER_NAT = 2 };

/* A NAT gateway. */
#define NAT_ADDRESSES_MAX 8
struct nat {
	__u32 vni;
	__u32 flags;
	__u32 subnet;
	__u32 count;
	__be32 address[NAT_ADDRESSES_MAX];
	__u8 rest[16];
};
#define NATS_MAX 4096
enum { NAT_HERE = 1 };

/*
 * A limit: a packet is dropped if the packets before it, at the rate, keep the way busy for longer than the burst from
 * now. An interface has its slot's row, a NAT gateway the one at its number after all slots.
 */
struct rate {
	__u64 cost; /* ns for a byte, in units of 1/65536; 0: no limit */
	__u64 burst_ns;
	__u64 busy_until_ns[2]; /* packets out of an interface or through a gateway; packets into an interface */
	__u64 dropped;
};

/* The way out of the fabric to the host. */
struct world {
	__u32 ifindex; /* 0: there is none */
	__be32 pool, mask, host;
	__u8 mac[6];      /* of the fabric's end */
	__u8 peer_mac[6]; /* of the host's end */
	__u32 edge_ifindex; /* the device to the regional endpoints; 0: there are none */
	__be32 endpoints, endpoints_mask; /* their addresses, a part of the pool */
	__u8 edge_mac[6];      /* of the fabric's end */
	__u8 edge_peer_mac[6]; /* of their end */
	__u8 rest[12];
};

/* The rulesets of a group set, by side and direction; 0 is no ruleset, which admits nothing. */
struct policy {
	__u32 ruleset[2][2];
	__u32 open[2]; /* see open_bit() */
};

struct address_key {
	__u32 prefix_bits;
	__u32 ruleset;
	__be32 address;
};

struct port_key {
	__u32 prefix_bits;
	__u32 ruleset;
	__u8 proto;
	__u8 port[2]; /* unaligned; ICMP: type, code */
	__u8 pad;
};

struct member_key {
	__u32 ruleset;
	__u32 group_set;
};

struct cidr_key {
	__u32 prefix_bits;
	__u32 vni;
	__be32 address;
};

struct flow_key {
	__be32 low, high;
	__be16 port_low, port_high;
	__u32 vni_proto;
};

/*
 * One entry serves both directions and, between two interfaces of one host, both ends. Index 0: low, 1: high. The
 * packets of each end are decided on their own: by the routes and ACLs between it and the other end.
 */
struct flow {
	__u64 seen_ns;
	__u64 epoch; /* control.epoch at the last decision on packets of the low end */
	__u32 ifindex[2];
	__u16 slot[2];
	__u32 state;
	__u32 owner; /* slot that pays for it: the sender of the first packet */
	__u32 ring_index;
	__u64 epoch_high; /* the same for packets of the high end */
	__u16 decision[2]; /* decision_of(): 0 for packets that pass to the other end's device */
	__be32 nat_address; /* the other leg of a translated connection: see nat.h */
	__be16 nat_port;
	__u8 rest[2];
	__u32 nat_vni;
};

/* The rows that record which flows an interface pays for: {slot, index} -> flow key. */
struct ring_key {
	__u32 slot;
	__u32 index;
};

/*
 * The rows that one slot has made; slot 0, which belongs to no interface, has the sums. Only the program writes it,
 * and except for the cursor no number decreases while the interface is plugged.
 */
struct ring {
	__u32 cursor;      /* next row to try to reuse */
	__u32 end;         /* index of the next row, less `shrunk` */
	__u32 made;        /* rows made */
	__u32 made_shared; /* of these, in the shared part */
};

/* The rows that the node gave back. Only the node writes it: a slot holds `made` less `rows`. */
struct returned {
	__u32 rows;
	__u32 shared;
	__u32 shrunk;
};

/* Division of the flow table. Rows with an index below `floor` are the slot's own, the others are shared. */
struct shares {
	__u32 floor;
	__u32 shared_max;
};

/* The ports of a datagram whose later fragments have none. */
struct fragment {
	__be32 src, dst;
	__be16 ip_id;
	__u8 proto;
	__u8 pad;
	__be16 sport, dport, icmp_id;
	__u8 icmp_type, icmp_code;
};

#define DROP_REASONS_MAX 64

struct counters {
	__u64 packets_out, bytes_out, packets_in, bytes_in; /* seen from the interface */
	__u64 drops[DROP_REASONS_MAX];
};

/* Increases with every change of policy or membership; the lowest bit selects the valid side. */
struct control {
	__u64 epoch;
	__u64 tick_ns; /* length of a jiffy, so that reading the clock is one multiplication */
	__u64 nat_idle_ns;   /* a translated connection without packets ends after this time */
	__u64 nat_closed_ns; /* the port of a closed one stays reserved for this time */
	__u8 rest[32];
};

_Static_assert(sizeof(struct bitmap) == 128, "layout");
_Static_assert(sizeof(struct packet) == 24, "layout");
_Static_assert(sizeof(struct eni) == 64, "layout");
_Static_assert(sizeof(struct endpoint) == 32, "layout");
_Static_assert(sizeof(struct policy) == 24, "layout");
_Static_assert(sizeof(struct address_key) == 12, "layout");
_Static_assert(sizeof(struct port_key) == 12, "layout");
_Static_assert(sizeof(struct flow_key) == 16, "layout");
_Static_assert(sizeof(struct flow) == 64, "layout");
_Static_assert(sizeof(struct ring) == 16, "layout");
_Static_assert(sizeof(struct returned) == 12, "layout");
_Static_assert(sizeof(struct shares) == 8, "layout");
_Static_assert(sizeof(struct fragment) == 20, "layout");
_Static_assert(sizeof(struct counters) == 544, "layout");
_Static_assert(sizeof(struct control) == 64, "layout");
_Static_assert(sizeof(struct subnet) == 48, "layout");
_Static_assert(sizeof(struct route_key) == 12, "layout");
_Static_assert(sizeof(struct route) == 24, "layout");
_Static_assert(sizeof(struct acl_row) == 16, "layout");
_Static_assert(sizeof(struct public_owner) == 24, "layout");
_Static_assert(sizeof(struct nat) == 64, "layout");
_Static_assert(sizeof(struct world) == 64, "layout");
_Static_assert(sizeof(struct rate) == 40, "layout");

#endif
