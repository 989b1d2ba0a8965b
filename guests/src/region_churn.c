/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * region_churn N ROUNDS [PAGES]: N processes load and store words all over an mshare
 * region, while their parent puts a new object in the place of the old one ROUNDS
 * times, and uses the memory that this sets free for its own. The object has PAGES
 * pages (16 if not given). Every word says which page of the region it belongs to:
 * nobody may ever see anything but that, or zero, and nobody may change the
 * parent's own memory.
 *
 * Prints:
 *   ok N processes, R rounds
 * A foreign word is reported on standard error, and the exit status is 1.
 */
#include "mshare.h"

#define REGION MSHARE_ROOT "region_churn"
#define WORDS (PAGE_SIZE / sizeof(u64))
#define TAG 0x5a5a000000000000UL
#define FOREIGN 0xbad0000000000000UL

struct talk {
	volatile u64 started;
	volatile u64 done;
};

/* One pass over all pages. Returns whether every word was the region's own. */
static int pass(volatile u64 *region, u64 pages, u64 word, int store)
{
	for (u64 page = 0; page < pages; page++) {
		volatile u64 *place = region + page * WORDS + word % WORDS;
		u64 value = *place;

		if (value && value != (TAG | page)) {
			complain("page %lu: a foreign word 0x%lx\n", page, value);
			return 0;
		}
		if (store)
			*place = TAG | page;
	}
	return 1;
}

static int child(u64 me, volatile u64 *region, u64 pages, struct talk *talk)
{
	u64 word = me * 7;
	int right = pass(region, pages, word, 1);

	__atomic_fetch_add(&talk->started, 1, __ATOMIC_SEQ_CST);
	for (word++; right && !talk->done; word++)
		right = pass(region, pages, word, word % 3);
	return !right;
}

static void put_object(int fd, u64 pages)
{
	struct mshare_create object = {
		.region_offset = 0,
		.size = pages * PAGE_SIZE,
		.prot = PROT_READ | PROT_WRITE,
		.flags = MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE,
		.fd = MSHARE_NO_FD,
	};

	must(sys_ioctl(fd, MSHAREFS_CREATE_MAPPING, &object), "MSHAREFS_CREATE_MAPPING");
}

/* Memory of the parent's own, out of the frames and tables that have just become free. */
static u64 *use_free_memory(u64 pages)
{
	u64 *own = anonymous(pages * PAGE_SIZE, MAP_PRIVATE);

	for (u64 word = 0; word < pages * WORDS; word++)
		own[word] = FOREIGN;
	return own;
}

/* Is that memory as it was? Gives it back. */
static int is_untouched(u64 *own, u64 pages)
{
	int right = 1;

	for (u64 word = 0; word < pages * WORDS; word++)
		if (own[word] != FOREIGN) {
			complain("private memory holds 0x%lx\n", own[word]);
			right = 0;
			break;
		}
	must(sys_munmap((u64)own, pages * PAGE_SIZE), "munmap");
	return right;
}

int main(int argc, char **argv, char **envp)
{
	struct talk *talk = anonymous(PAGE_SIZE, MAP_SHARED);
	u64 processes, rounds, pages, failed = 0;
	volatile u64 *region;
	int fd;

	(void)envp;
	if (argc < 3 || argc > 4)
		usage("region_churn N ROUNDS [PAGES]");
	processes = atou64(argv[1]);
	rounds = atou64(argv[2]);
	pages = argc == 4 ? atou64(argv[3]) : 16;
	fd = mshare_region(REGION, pages * PAGE_SIZE, -1);
	region = mshare_window(fd, 0);
	for (u64 me = 0; me < processes; me++)
		if (must(sys_fork(), "fork") == 0)
			return child(me, region, pages, talk);
	while (talk->started < processes)
		sys_sched_yield();
	for (u64 round = 0; round < rounds; round++) {
		u64 *own;

		put_object(fd, pages);
		own = use_free_memory(pages);
		failed |= !pass(region, pages, round, 1);
		sys_sched_yield();
		failed |= !is_untouched(own, pages);
	}
	talk->done = 1;
	for (u64 i = 0; i < processes; i++)
		failed |= exited(wait_for(-1)) != 0;
	must(sys_unlink(REGION), "unlink " REGION);
	if (failed)
		return 1;
	print("ok %lu processes, %lu rounds\n", processes, rounds);
	return 0;
}
