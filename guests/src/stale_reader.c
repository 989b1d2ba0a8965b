/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stale_reader [replace|unmap]: a process takes the object of a region away while
 * another one, which has read and written its first page, goes on using it. The
 * reader makes no system call meanwhile, so on a CPU of its own nothing but a
 * TLB shootdown tells it.
 *
 * replace (if nothing is said): another object of zero pages takes the place of the
 * first. Prints, where every TLB is told:
 *   maker: the object holds 1
 *   reader: after the object was replaced: 2
 *   maker: the reader's store: arrived
 * and where the reader's is not:
 *   reader: after the object was replaced: 1, a stale page
 *   maker: the reader's store: lost
 *
 * unmap: nothing takes its place, and the reader is killed:
 *   reader: killed by SIGSEGV
 * or is not:
 *   reader: lives, and reads 1, a stale page
 */
#include "mshare.h"

#define REGION MSHARE_ROOT "stale_reader"
#define OLD 1
#define NEW 2
#define STORED 3

/* What the two tell each other, outside the region. */
struct talk {
	volatile u64 reads; /* of the reader */
	volatile u64 done; /* the maker has changed the region */
};

/* The first page of the region. */
struct page {
	volatile u64 value;
	volatile u64 counter;
	volatile u64 stored;
};

static const char *stale(u64 value)
{
	return value == OLD ? ", a stale page" : "";
}

static int reader(struct page *page, struct talk *talk, int replaced)
{
	u64 value;

	/* The stores let the TLB know that the page is dirty: it never has to ask again. */
	while (!talk->done) {
		page->counter++;
		talk->reads += page->value == OLD;
	}
	for (int i = 0; i < 10000; i++)
		value = page->value;
	page->stored = STORED;
	if (replaced)
		print("reader: after the object was replaced: %lu%s\n", value, stale(value));
	else
		print("reader: lives, and reads %lu%s\n", value, stale(value));
	return 0;
}

/* The object goes; in its place comes another one that holds NEW, or nothing. */
static void change(int fd, struct page *page, int replace)
{
	struct mshare_create object = {
		.region_offset = 0,
		.size = PAGE_SIZE,
		.prot = PROT_READ | PROT_WRITE,
		.flags = MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE,
		.fd = MSHARE_NO_FD,
	};
	struct mshare_unmap old = { .region_offset = 0, .size = PAGE_SIZE };

	must(sys_ioctl(fd, MSHAREFS_UNMAP, &old), "MSHAREFS_UNMAP");
	if (replace) {
		must(sys_ioctl(fd, MSHAREFS_CREATE_MAPPING, &object), "MSHAREFS_CREATE_MAPPING");
		page->value = NEW;
	}
}

int main(int argc, char **argv, char **envp)
{
	int replace = argc < 2 || strcmp(argv[1], "replace") == 0;
	struct talk *talk = anonymous(PAGE_SIZE, MAP_SHARED);
	struct page *page;
	long child;
	int fd, status;

	(void)envp;
	if (argc > 2 || (!replace && strcmp(argv[1], "unmap")))
		usage("stale_reader [replace|unmap]");
	fd = mshare_region(REGION, PAGE_SIZE, -1);
	page = mshare_window(fd, 0);
	page->value = OLD;
	print("maker: the object holds %lu\n", page->value);

	child = must(sys_fork(), "fork");
	if (child == 0)
		return reader(page, talk, replace);
	while (talk->reads < 3)
		sys_sched_yield();
	change(fd, page, replace);
	talk->done = 1;
	status = wait_for(child);
	if (killed_by(status))
		print("reader: killed by %s\n", signal_name(killed_by(status)));
	if (replace)
		print("maker: the reader's store: %s\n", page->stored == STORED ? "arrived" : "lost");
	must(sys_unlink(REGION), "unlink " REGION);
	return 0;
}
