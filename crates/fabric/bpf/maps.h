/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The maps, all pinned by name. Each comment names the writer and the behaviour of a full map.
 */
#ifndef BERTH_MAPS_H
#define BERTH_MAPS_H

#include "kernel.h"
#include "layout.h"

#define SLOTS_MAX 4096 /* slot 0 counts packets that belong to no interface */
#define GROUP_SETS_MAX 65536
/* Overridden by the loader, which knows the host's memory. */
#define FLOWS_MAX (1 << 20)
/* Maximum number of fragmented datagrams in transit from one interface. */
#define FRAGMENTS_PER_ENI 32

/* Written by the node; as many interfaces as there are slots: the node refuses to plug another one. */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, ENI_ROWS);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct eni);
} enis SECTION(".maps");

/* Written by the node; full: the node reports the endpoints it could not program, packets to them are dropped. */
struct {
	uint(type, BPF_MAP_TYPE_HASH);
	uint(max_entries, 1 << 20);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct endpoint_key);
	type(value, struct endpoint);
} endpoints SECTION(".maps");

/* Written by the node; one slot per possible group set, so it is never full. */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, GROUP_SETS_MAX);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct policy);
} policies SECTION(".maps");

/* Rules by the peer's address. Written by the node; full: the policy change is refused and the old one stays. */
struct {
	uint(type, BPF_MAP_TYPE_LPM_TRIE);
	uint(max_entries, 1 << 20);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct address_key);
	type(value, struct bitmap);
} rule_addresses SECTION(".maps");

/* Rules by protocol and port; as above. */
struct {
	uint(type, BPF_MAP_TYPE_LPM_TRIE);
	uint(max_entries, 1 << 20);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct port_key);
	type(value, struct bitmap);
} rule_ports SECTION(".maps");

/* Rules by the peer's group set; as above. */
struct {
	uint(type, BPF_MAP_TYPE_HASH);
	uint(max_entries, 1 << 20);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct member_key);
	type(value, struct bitmap);
} rule_members SECTION(".maps");

/* Address ranges of the VPCs: distinguish "outside the VPC" from "no such address". Written by the node. */
struct {
	uint(type, BPF_MAP_TYPE_LPM_TRIE);
	uint(max_entries, 65536);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct cidr_key);
	type(value, __u32);
} vpc_cidrs SECTION(".maps");

/* Written by the node; it refuses an intent with more subnets. */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, SUBNETS_MAX);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct subnet);
} subnets SECTION(".maps");

/* Route tables. Written by the node; full: the change is refused and the old tables stay. */
struct {
	uint(type, BPF_MAP_TYPE_LPM_TRIE);
	uint(max_entries, 1 << 18);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct route_key);
	type(value, struct route);
} routes SECTION(".maps");

/* Entries of network ACLs by the other end's address; as above. */
struct {
	uint(type, BPF_MAP_TYPE_LPM_TRIE);
	uint(max_entries, 1 << 18);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct address_key);
	type(value, struct acl_row);
} acl_addresses SECTION(".maps");

/* Entries of network ACLs by protocol and port; as above. */
struct {
	uint(type, BPF_MAP_TYPE_LPM_TRIE);
	uint(max_entries, 1 << 18);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct port_key);
	type(value, struct acl_row);
} acl_ports SECTION(".maps");

/* The public address of a private one. Written by the node; full: the change is refused. */
struct {
	uint(type, BPF_MAP_TYPE_HASH);
	uint(max_entries, 1 << 16);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct endpoint_key);
	type(value, struct public_owner);
} publics SECTION(".maps");

/* The private address of a public one, as above. */
struct {
	uint(type, BPF_MAP_TYPE_HASH);
	uint(max_entries, 1 << 16);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct public_owner);
} privates SECTION(".maps");

/* Written by the node; it refuses an intent with more NAT gateways. */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, NATS_MAX);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct nat);
} nats SECTION(".maps");

/* Written by the node. */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, 1);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct world);
} worlds SECTION(".maps");

/*
 * Entries are created only here; dead ones are removed here and by the node. The map has room for every row of the
 * ring, which reports when it is full.
 */
struct {
	uint(type, BPF_MAP_TYPE_HASH);
	uint(max_entries, FLOWS_MAX);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct flow_key);
	type(value, struct flow);
} flows SECTION(".maps");

/*
 * The flows each interface pays for. The program creates and reuses rows; the node gives them back when their flow is
 * dead. Every interface has some of its own; the others are shared, and an interface that holds many gets none when
 * few are left. Full: an interface that needs a row takes that of an unanswered flow of its own, otherwise the new
 * flow is dropped and counted. An established flow is never evicted.
 */
struct {
	uint(type, BPF_MAP_TYPE_HASH);
	uint(max_entries, FLOWS_MAX);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct ring_key);
	type(value, struct flow_key);
} flow_ring SECTION(".maps");

struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, SLOTS_MAX);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct ring);
} rings SECTION(".maps");

/* Written by the node. */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, SLOTS_MAX);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct returned);
} returns SECTION(".maps");

/* Written by the node: the limits; and by the program: their use. A row for each slot, then for each NAT gateway. */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, SLOTS_MAX + NATS_MAX);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct rate);
} rates SECTION(".maps");

/* Written by the node before any interface is plugged. */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, 1);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct shares);
} shares SECTION(".maps");

/*
 * Ports of fragmented packets, the same number for each interface; a later datagram replaces an earlier one of the
 * same interface, whose later fragments are then dropped and counted.
 */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, SLOTS_MAX * FRAGMENTS_PER_ENI);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct fragment);
} fragments SECTION(".maps");

struct {
	uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	uint(max_entries, SLOTS_MAX);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct counters);
} eni_counters SECTION(".maps");

/* Written by the node in one store: the switch from one policy to the next. */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, 1);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct control);
} control SECTION(".maps");

#endif
