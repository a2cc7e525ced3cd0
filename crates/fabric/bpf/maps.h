/*
 * The maps, all pinned by name. Each says who writes it and what happens when it is full.
 */
#ifndef BERTH_MAPS_H
#define BERTH_MAPS_H

#include "kernel.h"
#include "layout.h"

#define SLOTS_MAX 4096 /* slot 0 counts what cannot be charged to an interface */
#define GROUP_SETS_MAX 65536
#define FLOWS_MAX (1 << 20)
/* Live flows one interface may own, so that a flood from one cannot take the table from the others. */
#define FLOWS_PER_ENI 65536

/* Written by the agent; as many interfaces as there are slots: the agent refuses to plug another one. */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, ENI_ROWS);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct eni);
} enis SECTION(".maps");

/* Written by the agent; full: the agent reports the endpoints it could not program, packets to them are dropped. */
struct {
	uint(type, BPF_MAP_TYPE_HASH);
	uint(max_entries, 1 << 20);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct endpoint_key);
	type(value, struct endpoint);
} endpoints SECTION(".maps");

/* Written by the agent; one slot per possible group set, so it is never full. */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, GROUP_SETS_MAX);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct policy);
} policies SECTION(".maps");

/* Rules by the peer's address. Written by the agent; full: the policy change is refused and the old one stays. */
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

/* Address ranges of the VPCs, to tell "outside the VPC" from "nobody there". Written by the agent. */
struct {
	uint(type, BPF_MAP_TYPE_LPM_TRIE);
	uint(max_entries, 65536);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct cidr_key);
	type(value, __u32);
} vpc_cidrs SECTION(".maps");

/* Written here only; full: new flows are dropped and counted, live ones are never evicted. */
struct {
	uint(type, BPF_MAP_TYPE_HASH);
	uint(max_entries, FLOWS_MAX);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, struct flow_key);
	type(value, struct flow);
} flows SECTION(".maps");

/* Which flows each interface owns; rows are reused when their flow is dead. Full: as flows. */
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

/* Ports of fragmented packets; full: the oldest is forgotten, its later fragments are dropped and counted. */
struct {
	uint(type, BPF_MAP_TYPE_LRU_HASH);
	uint(max_entries, 8192);
	uint(pinning, PIN_BY_NAME);
	type(key, struct fragment_key);
	type(value, struct fragment_ports);
} fragments SECTION(".maps");

struct {
	uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	uint(max_entries, SLOTS_MAX);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct counters);
} eni_counters SECTION(".maps");

/* Written by the agent in one store: the step from one policy to the next. */
struct {
	uint(type, BPF_MAP_TYPE_ARRAY);
	uint(max_entries, 1);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct control);
} control SECTION(".maps");

#endif
