/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Answers of the fabric itself: ARP for every address of the VPC, and echo requests to the subnet's router.
 */
#ifndef BERTH_ANSWERS_H
#define BERTH_ANSWERS_H

#include "parse.h"

struct arp {
	__be16 hardware, protocol;
	__u8 hardware_bytes, protocol_bytes;
	__be16 operation;
	__u8 sender_mac[6], sender_address[4], target_mac[6], target_address[4];
};

enum { ARP_ETHERNET = 1, ARP_REQUEST = 1, ARP_REPLY = 2 };
enum { ICMP_ECHO_REPLY = 0, ICMP_ECHO = 8 };
#define CSUM_FIELD_16 2 /* l4_csum_replace: a 16-bit field changed */

/* The hardware address of every router, 0e:00:00:00:00:01; interfaces have 02 as the first byte. */
INLINE void put_router_mac(__u8 *mac)
{
	mac[0] = 0x0e;
	mac[1] = mac[2] = mac[3] = mac[4] = 0;
	mac[5] = 1;
}

INLINE __be32 address_of(const __u8 *bytes)
{
	__be32 address;

	__builtin_memcpy(&address, bytes, sizeof(address));
	return address;
}

INLINE bool in_vpc(__u32 vni, __be32 address)
{
	struct cidr_key key = { .prefix_bits = 64, .vni = be32(vni), .address = address };

	return map_lookup(&vpc_cidrs, &key);
}

/* Writes the hardware address of `target` as this interface sees it. False: there is no such address. */
INLINE bool resolve(const struct eni *eni, __be32 target, __u8 *mac)
{
	struct endpoint_key key = { .vni = eni->vni, .address = target };
	struct endpoint *endpoint;

	if (target == eni->address)
		return false;
	endpoint = map_lookup(&endpoints, &key);
	if (endpoint) {
		__builtin_memcpy(mac, endpoint->mac, 6);
		return true;
	}
	put_router_mac(mac);
	if (target == eni->router)
		return true;
	return (target & eni->mask) != (eni->address & eni->mask) && in_vpc(eni->vni, target);
}

NOINLINE int answer_arp(struct __sk_buff *skb, struct eni *eni)
{
	struct {
		struct ethernet ethernet;
		struct arp arp;
	} frame = {};
	__u8 mac[6];
	__be32 target;

	if (skb_load(skb, 0, &frame, sizeof(frame)))
		return drop(eni->slot, DROP_malformed);
	if (frame.arp.hardware != be16(ARP_ETHERNET) || frame.arp.protocol != be16(ETHERTYPE_IPV4))
		return drop(eni->slot, DROP_malformed);
	if (!same_mac(frame.arp.sender_mac, eni->mac) || address_of(frame.arp.sender_address) != eni->address)
		return drop(eni->slot, DROP_spoofed_arp);
	target = address_of(frame.arp.target_address);
	if (frame.arp.operation != be16(ARP_REQUEST) || !resolve(eni, target, mac))
		return drop(eni->slot, DROP_arp_unanswered);
	__builtin_memcpy(frame.ethernet.dst, eni->mac, 6);
	__builtin_memcpy(frame.ethernet.src, mac, 6);
	frame.arp.operation = be16(ARP_REPLY);
	__builtin_memcpy(frame.arp.target_mac, eni->mac, 6);
	__builtin_memcpy(frame.arp.target_address, frame.arp.sender_address, 4);
	__builtin_memcpy(frame.arp.sender_mac, mac, 6);
	__builtin_memcpy(frame.arp.sender_address, &target, 4);
	if (skb_store(skb, 0, &frame, sizeof(frame), 0))
		return drop(eni->slot, DROP_malformed);
	return redirect(skb->ifindex, 0);
}

/* Turns an echo request into its reply in place. Security groups do not apply to the router. */
NOINLINE int answer_echo(struct __sk_buff *skb, struct packet *p, struct eni *eni)
{
	struct ethernet ethernet = { .type = be16(ETHERTYPE_IPV4) };
	__be32 addresses[2] = { p->dst, p->src };
	__u8 reply = ICMP_ECHO_REPLY;
	__u32 icmp = p->header_bytes;

	if (p->proto != PROTO_ICMP || p->icmp_type != ICMP_ECHO || p->fragment || p->more_fragments)
		return drop(eni->slot, DROP_router);
	__builtin_memcpy(ethernet.dst, eni->mac, 6);
	put_router_mac(ethernet.src);
	/* Swapping the addresses does not change the IP checksum. */
	if (skb_store(skb, 0, &ethernet, sizeof(ethernet), 0) ||
	    skb_store(skb, ETHERNET_BYTES + 12, addresses, sizeof(addresses), 0) ||
	    skb_store(skb, icmp, &reply, 1, 0) ||
	    l4_csum_replace(skb, icmp + 2, be16(ICMP_ECHO << 8), be16(ICMP_ECHO_REPLY << 8), CSUM_FIELD_16))
		return drop(eni->slot, DROP_malformed);
	return redirect(skb->ifindex, 0);
}

#endif
