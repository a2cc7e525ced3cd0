/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The two gates of interfaces: the sender's security groups (egress) and the receiver's (ingress). Each decides
 * independently, by the rules of its group set, and identifies the other end by address and by group set.
 */
#ifndef BERTH_GATES_H
#define BERTH_GATES_H

#include "ways.h"

enum { GATE_DENIES, GATE_ADMITS, GATE_ADMITS_UNTRACKED, GATE_HAS_NO_RULES };

INLINE bool read_control(struct crossing *c)
{
	__u32 zero = 0;
	struct control *now = map_lookup(&control, &zero);

	if (!now)
		return false;
	c->epoch = *(volatile __u64 *)&now->epoch;
	c->side = c->epoch & 1;
	c->now_ns = jiffies64() * now->tick_ns;
	return true;
}

/* Both sides of a policy are spelled out: clang turns an index into pointer arithmetic that the verifier refuses. */
INLINE __u32 ruleset_of(const struct policy *policy, __u32 side, __u8 direction)
{
	if (side)
		return direction ? policy->ruleset[1][1] : policy->ruleset[1][0];
	return direction ? policy->ruleset[0][1] : policy->ruleset[0][0];
}

INLINE int ask_policy(const struct question *q, const struct policy *policy, __u32 ruleset)
{
	struct port_key port_key = { 64 - 8, ruleset, q->proto, { q->port[0], q->port[1] }, 0 };
	struct address_key address_key = { 64, ruleset, q->peer };
	struct member_key member_key = { ruleset, q->peer_group_set };
	struct bitmap *port, *address, *world;
	bool admits;

	port = map_lookup(&rule_ports, &port_key);
	if (!port)
		return GATE_DENIES;
	address = map_lookup(&rule_addresses, &address_key);
	admits = overlap(address, port);
	if (!admits && q->peer_group_set)
		admits = overlap(map_lookup(&rule_members, &member_key), port);
	if (!admits)
		return GATE_DENIES;
	if (!replies_are_open(q->side ? policy->open[1] : policy->open[0], q->direction, q->proto))
		return GATE_ADMITS;
	address_key.prefix_bits = 32; /* finds the row of 0.0.0.0/0 only */
	world = map_lookup(&rule_addresses, &address_key);
	return overlap(world, port) ? GATE_ADMITS_UNTRACKED : GATE_ADMITS;
}

GLOBAL int ask(const struct question *q)
{
	struct policy *policy;
	__u32 group_set, ruleset;

	if (!q)
		return GATE_HAS_NO_RULES;
	group_set = q->group_set;
	policy = map_lookup(&policies, &group_set);
	ruleset = policy ? ruleset_of(policy, q->side, q->direction) : 0;
	return ruleset ? ask_policy(q, policy, ruleset) : GATE_HAS_NO_RULES;
}

/* The group set of the sending interface; 0 until it is programmed. */
INLINE __u32 own_group_set(const struct crossing *c)
{
	struct endpoint_key key = { .vni = c->vni, .address = c->own };
	struct endpoint *own;

	if (c->from_world || c->from_nat)
		return 0;
	own = map_lookup(&endpoints, &key);
	return own ? group_set_of(own, c->side) : 0;
}

/* An interface counts as a member of its groups only with its own address. */
INLINE struct ends ends_of(const struct crossing *c)
{
	__u32 own = own_group_set(c);

	return (struct ends){
		.sender = own,
		.sender_as_peer = c->packet.src == c->own ? own : 0,
		.receiver = c->to_group_set,
		.receiver_as_peer = c->packet.dst == c->way.address ? c->to_group_set : 0,
		.side = c->side,
	};
}

/* Evaluates one gate for a first packet. Returns the flow bits of that end; sets c->reason on denial. */
INLINE __u32 judge(struct crossing *c, const struct ends *ends, __u32 gate)
{
	struct question q = {};
	bool high = gate == EGRESS ? c->from_high : !c->from_high;
	int answer;

	question_of(&q, &c->packet, ends, gate);
	answer = ask(&q);
	if (answer == GATE_HAS_NO_RULES)
		c->reason = DROP_no_policy;
	else if (answer == GATE_DENIES)
		c->reason = gate == EGRESS ? DROP_security_group_egress : DROP_security_group_ingress;
	return answer == GATE_ADMITS_UNTRACKED ? untracked_bit(high) : 0;
}

/*
 * Evaluates a packet without a flow: the sender's groups, the obstacles on the way, the receiver's groups, each in the
 * direction of the packet. This includes TCP segments in the middle of a connection, so that no flags bypass the rules.
 * Groups do not apply to a packet that is related to a flow. Returns the flow bits; sets c->reason on denial.
 */
GLOBAL int judge_first(struct crossing *c, __u32 is_related)
{
	struct ends ends;
	__u32 bits = 0;

	if (!c)
		return 0;
	ends = ends_of(c);
	c->reason = NOT_DROPPED;
	if (!is_related && !c->from_world && !c->from_nat)
		bits = judge(c, &ends, EGRESS);
	if (c->reason == NOT_DROPPED)
		c->reason = c->blocked;
	if (!is_related && c->to_slot && c->reason == NOT_DROPPED)
		bits |= judge(c, &ends, INGRESS);
	return bits;
}

#endif
