/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshare_donor [CONSUMER [ARGS]]: the worked example of the file interface (cover
 * letter of the third series, August 2025), without what is wrong in the posted
 * program: the unit is read as a 64-bit number, the consumer opens for writing,
 * and the donor, whose end would be the region's end, waits for the consumer.
 *
 * The consumer is the program CONSUMER (mshare_consumer), or a forked child.
 * The text goes into the first unit and the reply comes back in the second.
 *
 * Prints:
 *   donor: the region has 2 units
 *   donor: wrote "Some random shared text"
 *   consumer: ... (three lines, see mshare_consumer.c)
 *   donor: the second unit says "And a reply"
 *   donor: munmap: ok
 *   donor: unlink: ok
 *   donor: open after unlink: ENOENT
 */
#include "mshare_pair.h"

/* Makes the region: a file, its size, and one object over all of it. */
static int make_region(u64 size)
{
	struct mshare_create object = {
		.region_offset = 0,
		.size = size,
		.prot = PROT_READ | PROT_WRITE,
		/* Without MAP_NORESERVE so much memory would not be granted at once. */
		.flags = MAP_ANONYMOUS | MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
		.fd = MSHARE_NO_FD,
	};
	int fd = must(sys_open(REGION, O_RDWR | O_CREAT | O_EXCL, 0600), "create " REGION);

	must(sys_ftruncate(fd, size), "ftruncate " REGION);
	must(sys_ioctl(fd, MSHAREFS_CREATE_MAPPING, &object), "MSHAREFS_CREATE_MAPPING");
	return fd;
}

/* Runs the consumer and waits for it. Returns its exit status. */
static int run_consumer(char **command, char **envp)
{
	long child = must(sys_fork(), "fork");

	if (child == 0) {
		if (!command[0])
			sys_exit_group(consume());
		die(command[0], -sys_execve(command[0], command, envp));
	}
	return exited(wait_for(child));
}

int main(int argc, char **argv, char **envp)
{
	u64 unit = mshare_unit();
	int fd = make_region(2 * unit);
	char *window;

	(void)argc;
	print("donor: the region has 2 units\n");
	window = (char *)must(sys_mmap(MSHARE_WINDOW, 2 * unit, PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_FIXED, fd, 0), "mmap " REGION);
	memcpy(window, TEXT, sizeof(TEXT));
	print("donor: wrote \"%s\"\n", TEXT);

	if (run_consumer(argv + 1, envp) != 0) {
		guest_wrong++;
		print("donor: the consumer failed\n");
	}
	print("donor: the second unit says \"%s\"\n", window + unit);

	print("donor: munmap: %s\n", result_name(sys_munmap((u64)window, 2 * unit)));
	print("donor: unlink: %s\n", result_name(sys_unlink(REGION)));
	print("donor: open after unlink: %s\n", result_name(sys_open(REGION, O_RDWR, 0)));
	return guest_wrong != 0;
}
