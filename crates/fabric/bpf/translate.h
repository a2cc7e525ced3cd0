/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Translation of addresses and ports in place: IP header, checksums by difference, and the copy of an earlier packet
 * in an ICMP error. A UDP checksum of zero stays zero. The time to live stays: routers of a VPC are invisible.
 */
#ifndef BERTH_TRANSLATE_H
#define BERTH_TRANSLATE_H

#include "flows.h"

/* Offsets in the IP header, and of ports in the header behind it. */
enum { IP_CHECKSUM = 10, IP_SOURCE = 12, IP_DESTINATION = 16 };
enum { L4_SOURCE = 0, L4_DESTINATION = 2, L4_ICMP_ID = 4 };
enum { TCP_CHECKSUM = 16, UDP_CHECKSUM = 6, ICMP_CHECKSUM = 2 };

/* Flags of l4_csum_replace for the checksum of this protocol. */
INLINE __u64 checksum_flags(__u8 proto)
{
	return proto == PROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
}

INLINE __u32 checksum_offset(__u8 proto)
{
	if (proto == PROTO_ICMP)
		return ICMP_CHECKSUM;
	return proto == PROTO_TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
}

INLINE bool has_ports(__u8 proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP;
}

/* Replaces the address at `which` of the IP header. False: the packet is cut short. */
GLOBAL int rewrite_address(struct __sk_buff *skb, const struct packet *p, __u32 which, __be32 from, __be32 to)
{
	__u32 l4;

	if (!p || (which != IP_SOURCE && which != IP_DESTINATION))
		return false;
	l4 = p->header_bytes;
	if (!p->fragment && has_ports(p->proto) &&
	    l4_csum_replace(skb, l4 + checksum_offset(p->proto), from, to,
			    BPF_F_PSEUDO_HDR | sizeof(to) | checksum_flags(p->proto)))
		return false;
	if (l3_csum_replace(skb, ETHERNET_BYTES + IP_CHECKSUM, from, to, sizeof(to)))
		return false;
	return !skb_store(skb, ETHERNET_BYTES + which, &to, sizeof(to), 0);
}

/* Replaces a port at `which` behind the IP header, or the identifier of an echo. */
GLOBAL int rewrite_port(struct __sk_buff *skb, const struct packet *p, __u32 which, __u32 from, __u32 to)
{
	__be16 port = to;
	__u32 l4;

	if (!p || which > L4_ICMP_ID)
		return false;
	if (p->fragment || from == to)
		return true;
	l4 = p->header_bytes;
	if (l4_csum_replace(skb, l4 + checksum_offset(p->proto), from, to, sizeof(port) | checksum_flags(p->proto)))
		return false;
	return !skb_store(skb, l4 + which, &port, sizeof(port), 0);
}

INLINE bool is_icmp_error(const struct packet *p)
{
	return p->proto == PROTO_ICMP && !p->fragment && icmp_kind(p->icmp_type) == ICMP_ERROR;
}

/*
 * Replaces an address in the IP header that an ICMP error carries, if it is `from`. The sum over that header stays the
 * same, so the checksum of the ICMP message does.
 */
GLOBAL int rewrite_inner_address(struct __sk_buff *skb, const struct packet *p, __u32 which, __be32 from, __be32 to)
{
	__u32 at;
	__be32 found = 0;

	if (!p || !is_icmp_error(p) || (which != IP_SOURCE && which != IP_DESTINATION))
		return true;
	at = p->header_bytes + L4_BYTES;
	if (skb_load(skb, at + which, &found, sizeof(found)) || found != from)
		return true;
	if (l3_csum_replace(skb, at + IP_CHECKSUM, from, to, sizeof(to)))
		return false;
	return !skb_store(skb, at + which, &to, sizeof(to), 0);
}

/*
 * Replaces the port of the sender, or the identifier, in the copy that an ICMP error carries. The checksum of the copy
 * stays: only the checksum of the message is read.
 */
GLOBAL int rewrite_inner_port(struct __sk_buff *skb, const struct packet *p, __u32 at, __u32 from, __u32 to)
{
	__be16 port = to;

	if (!p)
		return false;
	if (from == to)
		return true;
	if (l4_csum_replace(skb, p->header_bytes + ICMP_CHECKSUM, from, to, sizeof(port)))
		return false;
	return !skb_store(skb, at, &port, sizeof(port), 0);
}

#endif
