/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The decisions of the data path that depend only on values: which ends may communicate, whether a flow is alive, how
 * a packet changes it. No maps and no helpers, so the same text is compiled for the kernel (fabric.bpf.c) and for the
 * host (verdict_host.c), where it is compared with the reference in src/oracle.rs.
 */
#ifndef BERTH_VERDICT_H
#define BERTH_VERDICT_H

#include "layout.h"

#define INLINE static inline __attribute__((always_inline))

#define SECOND_NS 1000000000ULL
/* Idle timeouts of tracked connections as documented for EC2; those of half-open and closing TCP are Berth's own. */
#define TCP_OPENING_TIMEOUT_NS (60 * SECOND_NS)
#define TCP_ESTABLISHED_TIMEOUT_NS (432000 * SECOND_NS)
#define TCP_HALF_CLOSED_TIMEOUT_NS (120 * SECOND_NS)
#define TCP_CLOSED_TIMEOUT_NS (30 * SECOND_NS)
#define UDP_TIMEOUT_NS (30 * SECOND_NS)
#define UDP_STREAM_TIMEOUT_NS (180 * SECOND_NS)
#define ICMP_TIMEOUT_NS (30 * SECOND_NS)
#define OTHER_TIMEOUT_NS (600 * SECOND_NS)
/*
 * A closed flow keeps its entry this long for the last acknowledgements, even when its owner needs room. Later ones
 * are decided by the rules. The time is short, so that an interface that opens many connections cycles through few
 * entries, which stay in the processor's cache.
 */
#define CLOSED_GRACE_NS (SECOND_NS / 50)

enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17 };
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };
enum { EGRESS = 0, INGRESS = 1 };

/* Bits of flow.state. LOW and HIGH are the ends with the lower and the higher address. */
enum {
	FLOW_FROM_HIGH = 1 << 0,      /* the high end sent the first packet */
	FLOW_REPLIED = 1 << 1,        /* the other end has answered */
	FLOW_FIN_LOW = 1 << 2,
	FLOW_FIN_HIGH = 1 << 3,
	FLOW_RST = 1 << 4,
	FLOW_CUT = 1 << 5,            /* untracked, and the rule that admitted it is gone */
	FLOW_UNTRACKED_LOW = 1 << 8,  /* the low end admits its packets by rule, not by state */
	FLOW_UNTRACKED_HIGH = 1 << 9,
	FLOW_TRANSLATED = 1 << 10,    /* the leg between a NAT gateway's address and the other end: see nat.h */
};

/* What happens to the packets of one end of an admitted flow, instead of delivery to the device of the other end. */
enum flow_way { WAY_DELIVER, WAY_WORLD, WAY_NAT };

/* The value of flow.decision: the way, and the reason if it is blocked. 0 is undisturbed delivery. */
INLINE __u16 decision_of(__u8 way, bool blocked, __u8 reason)
{
	return way | (blocked ? (reason + 1) << 8 : 0);
}

INLINE __u8 way_of(__u16 decision)
{
	return decision & 0xff;
}

/* The reason of a blocked way, or -1. */
INLINE int reason_of(__u16 decision)
{
	return (int)(decision >> 8) - 1;
}

/* Meaning of an ICMP message for the flow table. */
enum icmp_kind { ICMP_REQUEST, ICMP_REPLY, ICMP_ERROR, ICMP_OTHER };

/* True if some rule matches on both the peer and the port: rules only admit, so one common bit decides. */
INLINE bool overlap(const struct bitmap *peer, const struct bitmap *port)
{
	__u64 any = 0;

	if (!peer || !port)
		return false;
#pragma clang loop unroll(full)
	for (int i = 0; i < BITMAP_WORDS; i++)
		any |= peer->word[i] & port->word[i];
	return any != 0;
}

/*
 * True if the first entry of an ACL that matches both the other end and the port admits. Entries are bits in the order
 * of their numbers; no match denies.
 */
INLINE bool first_match_admits(const struct acl_row *address, const struct acl_row *port)
{
	__u64 match;

	if (!address || !port)
		return false;
	match = address->entries & port->entries;
	return match & -match & port->admit;
}

/* The bit of policy.open for "rules of this direction admit the whole protocol from and to anywhere". */
INLINE __u32 open_bit(__u8 direction, __u8 proto)
{
	if (proto == PROTO_TCP)
		return 1u << direction;
	if (proto == PROTO_UDP)
		return 4u << direction;
	return 0;
}

/* True if a flow admitted in `direction` by a rule for 0.0.0.0/0 needs no tracking: its replies are free anyway. */
INLINE bool replies_are_open(__u32 open, __u8 direction, __u8 proto)
{
	return open & open_bit(!direction, proto);
}

INLINE enum icmp_kind icmp_kind(__u8 type)
{
	switch (type) {
	case 8: case 13: case 15: case 17:
		return ICMP_REQUEST;
	case 0: case 14: case 16: case 18:
		return ICMP_REPLY;
	case 3: case 4: case 11: case 12:
		return ICMP_ERROR;
	default:
		return ICMP_OTHER;
	}
}

/* The type of the request that `type` answers; for a request, `type` itself. */
INLINE __u8 icmp_request_of(__u8 type)
{
	if (type == 0)
		return 8;
	return icmp_kind(type) == ICMP_REPLY ? type - 1 : type;
}

/* True for an address that no route leads to, whatever a route table says: this host, loopback, link-local. */
INLINE bool never_routed(__be32 address)
{
	const __u8 *octet = (const __u8 *)&address;

	return octet[0] == 0 || octet[0] == 127 || (octet[0] == 169 && octet[1] == 254);
}

/* True if the packet can only be the start of a connection. */
INLINE bool tcp_opens(__u8 flags)
{
	return (flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

/*
 * One key for both directions. Ports of ICMP are the identifier and the request type with the requesting end, so that
 * a reply belongs to that end and cannot carry a request of its own. The code is a part too: ACLs look at it.
 */
INLINE struct flow_key flow_key_of(const struct packet *p, __u32 vni)
{
	bool from_high = p->src > p->dst;
	struct flow_key key = {
		.low = from_high ? p->dst : p->src,
		.high = from_high ? p->src : p->dst,
		.port_low = from_high ? p->dport : p->sport,
		.port_high = from_high ? p->sport : p->dport,
		.vni_proto = vni << 8 | p->proto,
	};

	if (p->proto == PROTO_ICMP) {
		bool asked_by_high = from_high != (icmp_kind(p->icmp_type) == ICMP_REPLY);

		key.port_low = p->icmp_id;
		key.port_high = (__u16)(icmp_request_of(p->icmp_type) << 8) | (p->icmp_code & 0x7f) << 1 | asked_by_high;
	}
	return key;
}

INLINE bool flow_closed(__u32 state)
{
	return state & FLOW_RST || (state & FLOW_FIN_LOW && state & FLOW_FIN_HIGH);
}

INLINE __u64 flow_timeout_ns(__u32 state, __u8 proto)
{
	if (proto == PROTO_TCP) {
		if (flow_closed(state))
			return TCP_CLOSED_TIMEOUT_NS;
		if (state & (FLOW_FIN_LOW | FLOW_FIN_HIGH))
			return TCP_HALF_CLOSED_TIMEOUT_NS;
		return state & FLOW_REPLIED ? TCP_ESTABLISHED_TIMEOUT_NS : TCP_OPENING_TIMEOUT_NS;
	}
	if (proto == PROTO_UDP)
		return state & FLOW_REPLIED ? UDP_STREAM_TIMEOUT_NS : UDP_TIMEOUT_NS;
	return proto == PROTO_ICMP ? ICMP_TIMEOUT_NS : OTHER_TIMEOUT_NS;
}

/* `seen_ns` can be later than `now_ns`: another processor may have touched the flow since. */
INLINE bool flow_alive(__u64 now_ns, __u64 seen_ns, __u32 state, __u8 proto)
{
	return (__s64)(now_ns - seen_ns) < (__s64)flow_timeout_ns(state, proto);
}

/* Ports of a NAT gateway: as many as it may have connections to one destination. */
#define NAT_PORT_FIRST 10536
#define NAT_PORTS 55000
/* Number of ports that are tried for a new connection. */
#define NAT_PROBES 24

/* The port to try: first the sender's own, then any. */
INLINE __u16 nat_port(__u16 own, __u32 probe, __u32 random)
{
	if (!probe && own >= NAT_PORT_FIRST)
		return own;
	return NAT_PORT_FIRST + random % NAT_PORTS;
}

/* True while a translated connection has its port. */
INLINE bool translation_alive(__u64 now_ns, __u64 seen_ns, __u32 state, const struct control *durations)
{
	__u64 limit_ns = flow_closed(state) ? durations->nat_closed_ns : durations->nat_idle_ns;

	return (__s64)(now_ns - seen_ns) < (__s64)limit_ns;
}

/* True if the owner may reuse the row of this flow for another. */
INLINE bool flow_reclaimable(__u64 now_ns, __u64 seen_ns, __u32 state, __u8 proto)
{
	if (proto == PROTO_TCP && flow_closed(state))
		return (__s64)(now_ns - seen_ns) >= (__s64)CLOSED_GRACE_NS;
	return !flow_alive(now_ns, seen_ns, state, proto);
}

/* True if the owner may take the row of this flow when it gets no more: its first packets had no answer. */
INLINE bool flow_unanswered(__u32 state)
{
	return !(state & FLOW_REPLIED);
}

/*
 * True if an interface that holds `own` of the `taken` shared rows may take one more: as long as it holds less than a
 * quarter of the remaining ones. A single interface gets a fifth of all, each further one a fifth of the rest, so
 * that some rows remain for the next one.
 */
INLINE bool may_share(__s32 own, __s32 taken, __u32 shared_max)
{
	__s64 left = (__s64)shared_max - taken;

	return (__s64)own * 4 < left;
}

/* The state after a packet from the high or the low end. Only sets bits. */
INLINE __u32 flow_step(__u32 state, bool from_high, __u8 proto, __u8 tcp_flags)
{
	if (from_high != !!(state & FLOW_FROM_HIGH))
		state |= FLOW_REPLIED;
	if (proto != PROTO_TCP)
		return state;
	if (tcp_flags & TCP_FIN)
		state |= from_high ? FLOW_FIN_HIGH : FLOW_FIN_LOW;
	if (tcp_flags & TCP_RST)
		state |= FLOW_RST;
	return state;
}

/* The direction in which an end admitted the flow: outbound for the opening end, inbound for the other one. */
INLINE __u8 direction_of_end(__u32 state, bool high)
{
	return high == !!(state & FLOW_FROM_HIGH) ? EGRESS : INGRESS;
}

/* True if the packet is an answer to the leg between a NAT gateway and the other end, which the gateway opened. */
INLINE bool answers_translation(const struct flow *f, const struct packet *p)
{
	return f->state & FLOW_TRANSLATED && (p->src > p->dst) != !!(f->state & FLOW_FROM_HIGH);
}

/* True if this record alone admits the packet; otherwise it is treated as a first packet, whatever its flags are. */
INLINE bool flow_carries(const struct flow *f, const struct packet *p, __u32 ifindex, __u64 now_ns)
{
	if (!flow_alive(now_ns, f->seen_ns, f->state, p->proto))
		return false;
	if (p->proto == PROTO_TCP && tcp_opens(p->tcp_flags))
		return false;
	return (p->src > p->dst ? f->ifindex[1] : f->ifindex[0]) == ifindex;
}

/* The input of one gate. */
struct question {
	__u32 group_set;      /* whose rules apply */
	__u32 peer_group_set; /* 0: the peer is known by address only */
	__be32 peer;
	__u8 proto;
	__u8 port[2]; /* of the end that was contacted; ICMP: type, code */
	__u8 direction;
	__u32 side;
};

/* The group sets of both ends of a packet. */
struct ends {
	__u32 sender;
	__u32 sender_as_peer; /* 0 if the sender uses an address that is not its interface's */
	__u32 receiver;
	__u32 receiver_as_peer; /* 0 if the destination is not the receiving interface's address */
	__u32 side;
};

/* The port by which rules identify the packet, or, `as_reply`, the packet it answers. */
INLINE void name_port(struct question *q, const struct packet *p, bool as_reply)
{
	__be16 port = as_reply ? p->sport : p->dport;

	q->proto = p->proto;
	if (p->proto == PROTO_ICMP) {
		q->port[0] = p->icmp_type;
		q->port[1] = p->icmp_code;
	} else {
		q->port[0] = port & 0xff;
		q->port[1] = port >> 8;
	}
}

/* The input of the gate of the sender (EGRESS) or of the receiver (INGRESS) for a first packet. */
INLINE void question_of(struct question *q, const struct packet *p, const struct ends *ends, __u8 gate)
{
	q->side = ends->side;
	q->direction = gate;
	q->group_set = gate == EGRESS ? ends->sender : ends->receiver;
	q->peer_group_set = gate == EGRESS ? ends->receiver_as_peer : ends->sender_as_peer;
	q->peer = gate == EGRESS ? p->dst : p->src;
	name_port(q, p, false);
}

INLINE __u32 untracked_bit(bool high)
{
	return high ? FLOW_UNTRACKED_HIGH : FLOW_UNTRACKED_LOW;
}

#endif
