/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Limits of rates, as token buckets: instead of tokens a row has the time until which the accepted packets keep a way of
 * that rate busy, so that one compare-and-swap takes a packet's share.
 */
#ifndef BERTH_RATES_H
#define BERTH_RATES_H

#include "count.h"

enum { RATE_OUT, RATE_IN };
/* Attempts of a packet whose share other processors take at the same time; after them it passes uncounted. */
#define RATE_ATTEMPTS 4

INLINE bool take_share(__u64 *busy_until_ns, __u64 now_ns, __u64 cost_ns, __u64 burst_ns)
{
	for (int attempt = 0; attempt < RATE_ATTEMPTS; attempt++) {
		__u64 old = *(volatile __u64 *)busy_until_ns;
		__u64 until = (old > now_ns ? old : now_ns) + cost_ns;

		if (until - now_ns > burst_ns)
			return false;
		if (__sync_val_compare_and_swap(busy_until_ns, old, until) == old)
			return true;
	}
	return true;
}

/* True if the row has no limit, or the packet is within it. */
GLOBAL int within_rate(__u32 row, __u32 direction, __u32 bytes)
{
	struct rate *rate = map_lookup(&rates, &row);
	__u64 cost_ns;
	bool is_within;

	if (!rate || !rate->cost)
		return true;
	cost_ns = rate->cost * bytes >> 16;
	/* Both ways are spelled out, as in gates.h. */
	if (direction == RATE_IN)
		is_within = take_share(&rate->busy_until_ns[1], clock_ns(), cost_ns, rate->burst_ns);
	else
		is_within = take_share(&rate->busy_until_ns[0], clock_ns(), cost_ns, rate->burst_ns);
	if (!is_within)
		__sync_fetch_and_add(&rate->dropped, 1);
	return is_within;
}

/* The row of a NAT gateway. */
#define RATE_OF_NAT(number) (SLOTS_MAX + (number) % NATS_MAX)

#endif
