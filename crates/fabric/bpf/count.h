/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Drop reasons and the counters of an interface.
 */
#ifndef BERTH_COUNT_H
#define BERTH_COUNT_H

#include "maps.h"
#include "verdict.h"

#define REASON(name, text) DROP_##name,
enum drop_reason {
#include "drop_reasons.def"
	DROP_REASONS,
};
#undef REASON
_Static_assert(DROP_REASONS <= DROP_REASONS_MAX, "counters hold one number per reason");

enum { NOT_DROPPED = 0xffff, ETHERNET_ARP = 0xfffe };

enum { ACT_DROP = 2 /* TC_ACT_SHOT */, PACKET_FOR_HOST = 0 /* PACKET_HOST */ };

/* Counts the drop on `slot` and drops. */
NOINLINE int drop(__u32 slot, __u32 reason)
{
	struct counters *counters = map_lookup(&eni_counters, &slot);

	if (counters && reason < DROP_REASONS_MAX)
		counters->drops[reason]++;
	return ACT_DROP;
}

INLINE void count_passed(__u32 from_slot, __u32 to_slot, __u32 packets, __u32 bytes)
{
	struct counters *from = map_lookup(&eni_counters, &from_slot);
	struct counters *to = map_lookup(&eni_counters, &to_slot);

	if (from) {
		from->packets_out += packets;
		from->bytes_out += bytes;
	}
	if (to) {
		to->packets_in += packets;
		to->bytes_in += bytes;
	}
}

#endif
