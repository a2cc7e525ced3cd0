// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The programs of fabric.bpf.c compiled for the host, for tests that judge millions of packets without a kernel. Maps
 * and helpers are replacements in this process; every thread has maps of its own. A map exists from its first use, by
 * name. Not part of the data path.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Instead of kernel.h. */
#define BERTH_KERNEL_H
#define SECTION(name)
#define NOINLINE static __attribute__((noinline))
#define GLOBAL static __attribute__((noinline))
#define uint(name, value) int(*name)[value]
#define type(name, value) typeof(value) *name
#define be16(x) ((__be16)__builtin_bswap16(x))
#define be32(x) ((__be32)__builtin_bswap32(x))
enum { PIN_BY_NAME = 1 };

/* Instead of the kernel's, whose pointers to bytes have 32 bits. */
struct host_skb {
	__u64 data, data_end;
	__u32 len, ifindex, gso_segs, vlan_present, mark;
};
#define __sk_buff host_skb

enum { HOST_MAPS = 64, HOST_BUCKETS = 1 << 12, HOST_FRAME_BYTES = 2048, HOST_ROWS_SEEN = 16 };

struct host_node {
	struct host_node *next;
	_Alignas(8) __u8 bytes[]; /* key, padded to 8 bytes, then value */
};

struct host_map {
	char name[32];
	__u32 kind, key_bytes, value_bytes, entries;
	__u8 *array;
	struct host_node **buckets;
	__u32 *written; /* rows of an array that clear() has to empty */
	__u32 written_count, written_room;
};

static _Thread_local struct host_map host_maps[HOST_MAPS];
static _Thread_local __u32 host_maps_count;
static _Thread_local __u64 host_jiffies = 1000;
static _Thread_local __u32 host_random = 1;
static _Thread_local struct {
	__u32 ifindex;
	__u32 kind; /* enum host_way */
} host_sent;
enum host_way { HOST_NOWHERE, HOST_OUT, HOST_AGAIN, HOST_PEER };
/* Rows of counters that the present packet has touched. */
static _Thread_local __u32 host_rows[HOST_ROWS_SEEN], host_rows_count;

static void host_give_up(const char *what, const char *name)
{
	fprintf(stderr, "fabric_host.c: %s: %s\n", what, name);
	abort();
}

static bool host_is_array(const struct host_map *map)
{
	return map->kind == BPF_MAP_TYPE_ARRAY || map->kind == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static struct host_map *host_named(const char *name)
{
	for (__u32 i = 0; i < host_maps_count; i++)
		if (!strcmp(host_maps[i].name, name))
			return &host_maps[i];
	return NULL;
}

static struct host_map *host_map(const char *name, __u32 kind, __u32 entries, __u32 key_bytes, __u32 value_bytes)
{
	struct host_map *map = host_named(name);

	if (map)
		return map;
	if (host_maps_count == HOST_MAPS || strlen(name) >= sizeof(map->name))
		host_give_up("no room for the map", name);
	map = &host_maps[host_maps_count++];
	strcpy(map->name, name);
	map->kind = kind;
	map->entries = entries;
	map->key_bytes = key_bytes;
	map->value_bytes = value_bytes;
	if (host_is_array(map))
		map->array = calloc(entries, value_bytes);
	else
		map->buckets = calloc(HOST_BUCKETS, sizeof(*map->buckets));
	return map;
}

/* Prefixes are found by their first word, which belongs to the prefix of every key. */
static struct host_node **host_bucket(const struct host_map *map, const __u8 *key)
{
	bool is_trie = map->kind == BPF_MAP_TYPE_LPM_TRIE;
	__u32 bytes = is_trie ? 4 : map->key_bytes, hash = 2166136261u;

	for (__u32 i = 0; i < bytes; i++)
		hash = (hash ^ key[i + (is_trie ? 4 : 0)]) * 16777619u;
	return &map->buckets[(hash ^ hash >> 16) % HOST_BUCKETS];
}

static __u8 *host_value(const struct host_map *map, struct host_node *node)
{
	return node->bytes + ((map->key_bytes + 7) & ~7u);
}

static bool host_prefix_holds(const __u8 *prefix, const __u8 *key)
{
	__u32 bits = *(const __u32 *)prefix, i;

	if (bits > *(const __u32 *)key)
		return false;
	for (i = 4; bits >= 8; i++, bits -= 8)
		if (prefix[i] != key[i])
			return false;
	return !bits || !((prefix[i] ^ key[i]) >> (8 - bits));
}

static void *host_find(struct host_map *map, const __u8 *key)
{
	struct host_node *node, *best = NULL;
	__u32 row;

	if (host_is_array(map)) {
		row = *(const __u32 *)key;
		return row < map->entries ? map->array + (size_t)row * map->value_bytes : NULL;
	}
	for (node = *host_bucket(map, key); node; node = node->next) {
		if (map->kind != BPF_MAP_TYPE_LPM_TRIE) {
			if (!memcmp(node->bytes, key, map->key_bytes))
				return host_value(map, node);
		} else if (host_prefix_holds(node->bytes, key) &&
			   (!best || *(__u32 *)node->bytes > *(__u32 *)best->bytes)) {
			best = node;
		}
	}
	return best ? host_value(map, best) : NULL;
}

static void host_note_row(struct host_map *map, __u32 row)
{
	if (map->written_count == map->written_room) {
		map->written_room = map->written_room ? map->written_room * 2 : 64;
		map->written = realloc(map->written, map->written_room * sizeof(*map->written));
	}
	map->written[map->written_count++] = row;
}

static void *host_lookup(struct host_map *map, const void *key)
{
	void *found = host_find(map, key);
	__u32 row;

	/* The programs write to the rows of arrays in place. */
	if (!found || !host_is_array(map) || map->kind == BPF_MAP_TYPE_PERCPU_ARRAY)
		goto done;
	if (!strcmp(map->name, "rings") || !strcmp(map->name, "fragments"))
		host_note_row(map, *(const __u32 *)key);
done:
	if (found && !strcmp(map->name, "eni_counters")) {
		row = *(const __u32 *)key;
		if (host_rows_count == HOST_ROWS_SEEN)
			host_give_up("one packet is counted in too many rows", map->name);
		host_rows[host_rows_count++] = row;
	}
	return found;
}

static long host_update(struct host_map *map, const void *key, const void *value, __u64 flags)
{
	struct host_node **bucket, *node;
	void *old = host_is_array(map) || map->kind == BPF_MAP_TYPE_HASH ? host_find(map, key) : NULL;

	if (old && flags == BPF_NOEXIST)
		return -17;
	if (old) {
		memcpy(old, value, map->value_bytes);
		if (host_is_array(map))
			host_note_row(map, *(const __u32 *)key);
		return 0;
	}
	if (host_is_array(map))
		return -7;
	node = malloc(sizeof(*node) + ((map->key_bytes + 7) & ~7u) + map->value_bytes);
	memcpy(node->bytes, key, map->key_bytes);
	memcpy(host_value(map, node), value, map->value_bytes);
	bucket = host_bucket(map, key);
	node->next = *bucket;
	*bucket = node;
	return 0;
}

/* The memory stays until clear(): the program may still hold the value. */
static long host_delete(struct host_map *map, const void *key)
{
	struct host_node **at;

	for (at = host_bucket(map, key); *at; at = &(*at)->next)
		if (!memcmp((*at)->bytes, key, map->key_bytes)) {
			memset((*at)->bytes, 0xff, map->key_bytes);
			return 0;
		}
	return -2;
}

#define HOST_MAP(map)                                                                                                  \
	({                                                                                                             \
		static _Thread_local struct host_map *found;                                                           \
		if (!found)                                                                                            \
			found = host_map(&#map[1], sizeof(*(map)->type) / sizeof(int),                                 \
					 sizeof(*(map)->max_entries) / sizeof(int), sizeof(*(map)->key),               \
					 sizeof(*(map)->value));                                                       \
		found;                                                                                                 \
	})
#define map_lookup(map, key) host_lookup(HOST_MAP(map), key)
#define map_update(map, key, value, flags) host_update(HOST_MAP(map), key, value, flags)
#define map_delete(map, key) host_delete(HOST_MAP(map), key)

static __attribute__((unused)) long skb_load(const struct host_skb *skb, __u32 offset, void *to, __u32 bytes)
{
	if (offset + bytes > skb->len)
		return -14;
	memcpy(to, (void *)(long)skb->data + offset, bytes);
	return 0;
}

static __attribute__((unused)) long skb_store(struct host_skb *skb, __u32 offset, const void *from, __u32 bytes,
					      __u64 flags)
{
	(void)flags;
	if (offset + bytes > skb->len)
		return -14;
	memcpy((void *)(long)skb->data + offset, from, bytes);
	return 0;
}

static __u16 host_folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* Replaces the checksum at `offset` after a field of 2 or 4 bytes has changed. */
static long host_checksum(struct host_skb *skb, __u32 offset, __u64 from, __u64 to, __u64 flags)
{
	__u32 bytes = flags & 0xf, sum;
	__u16 old;

	if (skb_load(skb, offset, &old, sizeof(old)))
		return -14;
	if (flags & BPF_F_MARK_MANGLED_0 && !old)
		return 0;
	sum = (__u16)~old;
	if (bytes == 4)
		sum += (__u16)~(from >> 16) + (__u16)(to >> 16);
	sum += (__u16)~from + (__u16)to;
	old = ~host_folded(sum);
	if (flags & BPF_F_MARK_MANGLED_0 && !old)
		old = 0xffff;
	return skb_store(skb, offset, &old, sizeof(old), 0);
}

#define l4_csum_replace host_checksum
#define l3_csum_replace host_checksum

static __attribute__((unused)) long skb_change_tail(struct host_skb *skb, __u32 bytes, __u64 flags)
{
	(void)flags;
	if (bytes > HOST_FRAME_BYTES)
		return -22;
	skb->len = bytes;
	skb->data_end = skb->data + bytes;
	return 0;
}

static __attribute__((unused)) __u32 random32(void)
{
	host_random ^= host_random << 13;
	host_random ^= host_random >> 17;
	host_random ^= host_random << 5;
	return host_random;
}

static __attribute__((unused)) long skb_change_type(struct host_skb *skb, __u32 kind)
{
	(void)skb;
	(void)kind;
	return 0;
}

static __attribute__((unused)) long redirect(__u32 ifindex, __u64 flags)
{
	host_sent.ifindex = ifindex;
	host_sent.kind = flags & BPF_F_INGRESS ? HOST_AGAIN : HOST_OUT;
	return TC_ACT_REDIRECT;
}

static __attribute__((unused)) long redirect_peer(__u32 ifindex, __u64 flags)
{
	(void)flags;
	host_sent.ifindex = ifindex;
	host_sent.kind = HOST_PEER;
	return TC_ACT_REDIRECT;
}

static __attribute__((unused)) __u64 clock_ns(void)
{
	return host_jiffies * 1000000;
}

static __attribute__((unused)) __u64 jiffies64(void)
{
	return host_jiffies;
}

#include "fabric.bpf.c"

/* Empties every map of the thread, and starts the random numbers from `seed`. */
void host_clear(__u32 seed)
{
	struct host_node *node, *next;

	host_random = seed ?: 1;
	for (struct host_map *map = host_maps; map < host_maps + host_maps_count; map++) {
		for (__u32 i = 0; i < map->written_count; i++)
			memset(map->array + (size_t)map->written[i] * map->value_bytes, 0, map->value_bytes);
		map->written_count = 0;
		for (__u32 i = 0; map->buckets && i < HOST_BUCKETS; i++) {
			for (node = map->buckets[i]; node; node = next) {
				next = node->next;
				free(node);
			}
			map->buckets[i] = NULL;
		}
	}
}

/* Writes an entry. Kind and sizes are those of the program's declaration. */
int host_put(const char *name, const void *key, __u32 key_bytes, const void *value, __u32 value_bytes)
{
	struct host_map *map = NULL;

#define KNOWN(map_name)                                                                                                \
	if (!strcmp(name, #map_name))                                                                                  \
		map = HOST_MAP(&map_name);
	KNOWN(enis)
	KNOWN(endpoints)
	KNOWN(policies)
	KNOWN(rule_addresses)
	KNOWN(rule_ports)
	KNOWN(rule_members)
	KNOWN(vpc_cidrs)
	KNOWN(subnets)
	KNOWN(routes)
	KNOWN(acl_addresses)
	KNOWN(acl_ports)
	KNOWN(publics)
	KNOWN(privates)
	KNOWN(nats)
	KNOWN(worlds)
	KNOWN(rates)
	KNOWN(shares)
	KNOWN(control)
	if (!map || map->key_bytes != key_bytes || map->value_bytes != value_bytes)
		return -1;
	return host_update(map, key, value, BPF_ANY);
}

/* The result of a packet. */
struct host_result {
	__u32 ifindex; /* of the device it leaves through or is delivered at */
	__u32 kind;    /* enum host_way */
	__u32 reason;  /* of a drop, or ~0 */
	__u32 bytes;
};

/*
 * Runs a program on a frame, which is in a buffer of HOST_FRAME_BYTES and is changed in place: that of interfaces or, with
 * `at_edge`, that of the edge.
 */
void host_run(__u8 *frame, __u32 bytes, __u32 ifindex, __u32 at_edge, struct host_result *result)
{
	struct host_skb skb = {
		.data = (__u64)(long)frame,
		.data_end = (__u64)(long)frame + bytes,
		.len = bytes,
		.ifindex = ifindex,
		.gso_segs = 1,
	};
	struct host_map *counters = HOST_MAP(&eni_counters);
	struct counters *row;
	int act;

	host_jiffies++;
	host_rows_count = 0;
	host_sent.kind = HOST_NOWHERE;
	act = at_edge ? fabric_world(&skb) : fabric_port(&skb);
	*result = (struct host_result){ .reason = ~0u, .bytes = skb.len };
	if (act == TC_ACT_REDIRECT) {
		result->ifindex = host_sent.ifindex;
		result->kind = host_sent.kind;
	}
	for (__u32 i = 0; i < host_rows_count; i++) {
		row = (void *)(counters->array + (size_t)host_rows[i] * counters->value_bytes);
		for (__u32 reason = 0; reason < DROP_REASONS; reason++)
			if (row->drops[reason])
				result->reason = reason;
		memset(row, 0, sizeof(*row));
	}
}
