/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Parses bytes into struct packet, with the checks that need no other records: hardware address, own address.
 */
#ifndef BERTH_PARSE_H
#define BERTH_PARSE_H

#include "count.h"

enum { ETHERNET_BYTES = 14, IPV4_BYTES = 20, ARP_BYTES = 28, TCP_BYTES = 20, L4_BYTES = 8 };
enum { ETHERTYPE_IPV4 = 0x0800, ETHERTYPE_ARP = 0x0806, ETHERTYPE_IPV6 = 0x86dd };
enum { IP_MORE_FRAGMENTS = 0x2000, IP_FRAGMENT_OFFSET = 0x1fff };

struct ethernet {
	__u8 dst[6], src[6];
	__be16 type;
};

struct ipv4 {
	__u8 version_words, tos;
	__be16 bytes, id, fragment;
	__u8 ttl, proto;
	__be16 checksum;
	__be32 src, dst;
};

/* The first eight bytes of TCP, UDP or ICMP. */
struct l4 {
	__be16 a, b, c, d;
};

enum { SUPER_PACKET_BYTES = 0xffff };
/* Bytes that the fast path reads: up to and including the TCP flags. */
enum { HEADERS_BYTES = ETHERNET_BYTES + IPV4_BYTES + 14 };

INLINE bool same_mac(const __u8 *a, const __u8 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4] && a[5] == b[5];
}

/* The same for addresses in packets and maps, where the kernel takes unaligned words. */
INLINE bool same_mac_words(const void *a, const void *b)
{
	return *(const __u32 *)a == *(const __u32 *)b && *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

/* Checks the sender's hardware address, and copies the receiver's to `to`, which is aligned. */
INLINE __u16 check_ethernet(struct __sk_buff *skb, const struct eni *eni, __u8 *to)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct ethernet *ethernet = data;

	if (data + sizeof(*ethernet) > end)
		return DROP_malformed;
	if (!same_mac_words(ethernet->src, eni->mac))
		return DROP_spoofed_mac;
	*(__u32 *)to = *(const __u32 *)ethernet->dst;
	*(__u16 *)(to + 4) = *(const __u16 *)(ethernet->dst + 4);
	if (skb->vlan_present)
		return DROP_ethertype;
	if (ethernet->type == be16(ETHERTYPE_IPV4))
		return NOT_DROPPED;
	if (ethernet->type == be16(ETHERTYPE_ARP))
		return ETHERNET_ARP;
	return ethernet->type == be16(ETHERTYPE_IPV6) ? DROP_ipv6 : DROP_ethertype;
}

/* Bytes of the header behind the IP header that the first fragment must contain. */
INLINE __u16 l4_bytes(__u8 proto)
{
	if (proto == PROTO_TCP)
		return TCP_BYTES;
	return proto == PROTO_UDP || proto == PROTO_ICMP ? L4_BYTES : 0;
}

/*
 * True if the packet contains, by its own length, the headers read from it: bytes after its end are padding of the
 * frame. A length of 0 is that of a super-packet over 64 KiB.
 */
INLINE bool holds_headers(const struct __sk_buff *skb, const struct packet *p, __be16 bytes)
{
	__u16 needed = p->header_bytes - ETHERNET_BYTES + (p->fragment ? 0 : l4_bytes(p->proto));

	return bytes ? be16(bytes) >= needed : skb->len > SUPER_PACKET_BYTES;
}

/* Copies the fields of the IP header. */
INLINE __u16 take_ipv4(struct packet *p, const struct ipv4 *ip)
{
	__u16 ip_bytes = (ip->version_words & 0xf) * 4;
	__be16 fragment = ip->fragment;

	if (ip->version_words >> 4 != 4 || ip_bytes < IPV4_BYTES)
		return DROP_malformed;
	p->src = ip->src;
	p->dst = ip->dst;
	p->proto = ip->proto;
	p->ip_id = ip->id;
	p->header_bytes = ETHERNET_BYTES + ip_bytes;
	p->more_fragments = !!(fragment & be16(IP_MORE_FRAGMENTS));
	p->fragment = !!(fragment & be16(IP_FRAGMENT_OFFSET));
	/* A second fragment that starts inside the TCP header could replace the flags of the first one. */
	if (p->proto == PROTO_TCP && (fragment & be16(IP_FRAGMENT_OFFSET)) == be16(1))
		return DROP_malformed;
	return NOT_DROPPED;
}

INLINE void take_l4(struct packet *p, const struct l4 *l4)
{
	if (p->proto == PROTO_TCP || p->proto == PROTO_UDP) {
		p->sport = l4->a;
		p->dport = l4->b;
	} else if (p->proto == PROTO_ICMP) {
		p->icmp_type = be16(l4->a) >> 8;
		p->icmp_code = be16(l4->a) & 0xff;
		p->icmp_id = l4->c;
	}
}

INLINE bool has_l4(const struct packet *p)
{
	return l4_bytes(p->proto) != 0;
}

/* Options, short packets and headers outside the linear part: everything is copied out by the helper. */
NOINLINE int parse_by_copy(struct __sk_buff *skb, struct packet *p)
{
	struct ipv4 ip = {};
	struct l4 l4 = {};
	__u16 reason;

	if (skb_load(skb, ETHERNET_BYTES, &ip, sizeof(ip)))
		return DROP_malformed;
	reason = take_ipv4(p, &ip);
	if (reason == NOT_DROPPED && !holds_headers(skb, p, ip.bytes))
		return DROP_malformed;
	if (reason != NOT_DROPPED || p->fragment || !has_l4(p))
		return reason;
	if (skb_load(skb, p->header_bytes, &l4, sizeof(l4)))
		return DROP_malformed;
	take_l4(p, &l4);
	if (p->proto != PROTO_TCP)
		return NOT_DROPPED;
	return skb_load(skb, p->header_bytes + 13, &p->tcp_flags, 1) ? DROP_malformed : NOT_DROPPED;
}

INLINE __u16 parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct ipv4 *ip = data + ETHERNET_BYTES;
	const struct l4 *l4 = data + ETHERNET_BYTES + IPV4_BYTES;
	__u16 reason;

	if (data + HEADERS_BYTES > end || ip->version_words != 0x45)
		return parse_by_copy(skb, p);
	reason = take_ipv4(p, ip);
	if (reason == NOT_DROPPED && !holds_headers(skb, p, ip->bytes))
		return DROP_malformed;
	if (reason != NOT_DROPPED || p->fragment)
		return reason;
	take_l4(p, l4);
	if (p->proto == PROTO_TCP)
		p->tcp_flags = *(__u8 *)(data + ETHERNET_BYTES + IPV4_BYTES + 13);
	return NOT_DROPPED;
}

INLINE __u16 check_addresses(const struct packet *p, const struct eni *eni)
{
	if (p->src != eni->address && eni->flags & ENI_SOURCE_DEST_CHECK)
		return DROP_spoofed_address;
	if (p->dst == eni->address)
		return DROP_own_address;
	/* The last address of the subnet, and everything from 224.0.0.0 on. */
	if (p->dst == (eni->address | ~eni->mask) || (be32(p->dst) >= 0xe0000000))
		return DROP_multicast;
	return NOT_DROPPED;
}

#endif
