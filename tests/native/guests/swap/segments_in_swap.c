/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System V shared memory that lies in swap: SHM_INFO, and /proc/sysvipc/shm. */
// since: 6.18
// needs: swap, proc
#include "swap.h"

struct shm_info_ {
	int used_ids;
	u64 shm_tot, shm_rss, shm_swp, attempts, successes;
};

static struct shm_info_ before; /* others may have segments */

static void state(const char *what)
{
	struct shm_info_ info = { 0 };

	SYS(shmctl, 0, 14, &info);
	print("%s: rss %ld, swap %ld\n", what, (long)(info.shm_rss - before.shm_rss),
	      (long)(info.shm_swp - before.shm_swp));
}

int main(void)
{
	int id;
	char *p;

	swap_begin();
	make_area("a", 64, 63);
	MUST(swapon, "a", 0);
	SYS(shmctl, 0, 14, &before);
	id = MUST(shmget, 0, 8 * PAGE, 0600 | 01000);
	p = (char *)MUST(shmat, id, area(), 0);
	state("fresh");
	touch(p, 6);
	state("written");
	SHOW(madvise, p, 4 * PAGE, MADV_PAGEOUT_);
	state("out");
	print("%d\n", look(p + PAGE));
	state("one read");
	MUST(shmdt, p);
	state("detached");
	p = (char *)MUST(shmat, id, 0, 0);
	print("%d %d\n", look(p), look(p + 5 * PAGE));
	MUST(shmctl, id, 0, 0);
	MUST(shmdt, p);
	state("gone");
	swap_end();
	return 0;
}
