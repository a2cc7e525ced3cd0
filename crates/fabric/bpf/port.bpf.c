// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The filter of one bridge port, at the host's end of a container's pair: a frame has exactly the leased source
 * addresses, and, if the port leads only to the metadata endpoint, no other destination. It runs before the bridge
 * sees the frame, so that the bridge learns nothing from a dropped one. A reader of the source address behind this
 * program can rely on it to identify the port.
 */
#include "kernel.h"

#include <stdbool.h>

#define INLINE static __attribute__((always_inline)) inline
#define PACKED __attribute__((packed))

#define PORTS_MAX 16384
#define REASONS_MAX 16

#define REASON(name, text) DROP_##name,
enum port_drop_reason {
#include "port_drop_reasons.def"
	DROP_REASONS,
};
#undef REASON
_Static_assert(DROP_REASONS <= REASONS_MAX, "counters hold one number per reason");

enum { PASS = REASONS_MAX };

/* The lease of a port and the counters of its frames; the Rust side is in src/bpf/port.rs. */
struct port {
	__be32 address;
	/* The bridge's own address, and the endpoint; the endpoint is 0 where the container may talk to any address. */
	__be32 gateway, endpoint;
	__be16 service;
	__u8 mac[6];
	char name[16];
	__u32 pad;
	__u64 packets, bytes;
	__u64 drops[REASONS_MAX];
};
_Static_assert(sizeof(struct port) == 184, "the size of Port");

/*
 * By the index of the host's end; row 0 counts for ports without a lease. The program that connects the container
 * writes it, this program counts; full: the connection is refused.
 */
struct {
	uint(type, BPF_MAP_TYPE_HASH);
	uint(max_entries, PORTS_MAX);
	uint(map_flags, BPF_F_NO_PREALLOC);
	uint(pinning, PIN_BY_NAME);
	type(key, __u32);
	type(value, struct port);
} ports SECTION(".maps");

enum { ETHERTYPE_IPV4 = 0x0800, ETHERTYPE_ARP = 0x0806, ETHERTYPE_IPV6 = 0x86dd };
enum { ARP_ETHERNET = 1, ARP_REQUEST = 1, ARP_REPLY = 2 };
enum { IP_FRAGMENTED = 0x3fff, TCP = 6 };

struct ethernet {
	__u8 dst[6], src[6];
	__be16 type;
};

struct arp {
	__be16 hardware, protocol;
	__u8 hardware_bytes, protocol_bytes;
	__be16 operation;
	__u8 sender_mac[6];
	__be32 sender;
	__u8 target_mac[6];
	__be32 target;
} PACKED;

struct ipv4 {
	__u8 version_words, tos;
	__be16 bytes, id, fragment;
	__u8 ttl, proto;
	__be16 checksum;
	__be32 src, dst;
	/* Of TCP, if the header has no options. */
	__be16 sport, dport;
};

INLINE bool same_mac(const __u8 *a, const __u8 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4] && a[5] == b[5];
}

/* Requests and replies alike: the host asks for the container's address, too. */
INLINE __u32 judge_arp(struct __sk_buff *skb, const struct port *port)
{
	struct arp arp;

	if (skb_load(skb, sizeof(struct ethernet), &arp, sizeof(arp)))
		return DROP_malformed;
	if (arp.hardware != be16(ARP_ETHERNET) || arp.protocol != be16(ETHERTYPE_IPV4) || arp.hardware_bytes != 6 ||
	    arp.protocol_bytes != 4 || (arp.operation != be16(ARP_REQUEST) && arp.operation != be16(ARP_REPLY)))
		return DROP_malformed;
	if (!same_mac(arp.sender_mac, port->mac) || arp.sender != port->address)
		return DROP_spoofed_arp;
	if (port->endpoint && arp.target != port->gateway && arp.target != port->endpoint)
		return DROP_arp_target;
	return PASS;
}

INLINE __u32 judge_ipv4(struct __sk_buff *skb, const struct port *port)
{
	struct ipv4 ip = {};

	if (skb_load(skb, sizeof(struct ethernet), &ip, sizeof(ip) - 4))
		return DROP_malformed;
	if (ip.version_words >> 4 != 4 || (ip.version_words & 0xf) < 5)
		return DROP_malformed;
	if (ip.src != port->address)
		return DROP_spoofed_address;
	if (!port->endpoint)
		return PASS;
	if (ip.dst != port->endpoint)
		return DROP_other_address;
	/* A source route in the options would send the packet elsewhere. */
	if (ip.version_words != 0x45)
		return DROP_options;
	if (ip.fragment & be16(IP_FRAGMENTED))
		return DROP_fragment;
	if (be16(ip.bytes) < sizeof(ip) || skb_load(skb, sizeof(struct ethernet), &ip, sizeof(ip)))
		return DROP_malformed;
	return ip.proto == TCP && ip.dport == port->service ? PASS : DROP_other_service;
}

INLINE __u32 judge(struct __sk_buff *skb, const struct port *port)
{
	struct ethernet ethernet;

	if (skb_load(skb, 0, &ethernet, sizeof(ethernet)))
		return DROP_malformed;
	if (!same_mac(ethernet.src, port->mac))
		return DROP_spoofed_mac;
	if (skb->vlan_present)
		return DROP_ethertype;
	if (ethernet.type == be16(ETHERTYPE_IPV4))
		return judge_ipv4(skb, port);
	if (ethernet.type == be16(ETHERTYPE_ARP))
		return judge_arp(skb, port);
	return ethernet.type == be16(ETHERTYPE_IPV6) ? DROP_ipv6 : DROP_ethertype;
}

SECTION("classifier") int bridge_port(struct __sk_buff *skb)
{
	__u32 key = skb->ifindex, verdict = DROP_not_programmed;
	struct port *port = map_lookup(&ports, &key);

	if (port) {
		verdict = judge(skb, port);
	} else {
		key = 0;
		port = map_lookup(&ports, &key);
	}
	if (port && verdict == PASS) {
		__sync_fetch_and_add(&port->packets, 1);
		__sync_fetch_and_add(&port->bytes, skb->len);
		return TC_ACT_OK;
	}
	if (port && verdict < REASONS_MAX)
		__sync_fetch_and_add(&port->drops[verdict], 1);
	return TC_ACT_SHOT;
}

char LICENSE[] SECTION("license") = "GPL";
