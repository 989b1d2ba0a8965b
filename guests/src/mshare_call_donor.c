/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshare_call_donor [CONSUMER [ARGS]]: the worked example of the call interface
 * (cover letter of the first series, April 2022). The donor maps a range, and
 * mshare() makes a region of it under a name; whoever knows the name attaches
 * at the same address. The region goes when as many mshare_unlink() as mshare()
 * have been made.
 *
 * The consumer is the program CONSUMER (mshare_call_consumer), or a forked child.
 * The mode is 0600 in octal here; in the posted program it was a decimal 600.
 *
 * Prints:
 *   donor: misaligned address: EINVAL
 *   donor: misaligned size: EINVAL
 *   donor: create: ok
 *   donor: create again: EEXIST
 *   donor: create again without O_EXCL: EEXIST
 *   donor: unlink of an unknown name: EINVAL
 *   consumer: ... (five lines, see mshare_call_consumer.c)
 *   donor: "written by the consumer"
 *   donor: the file is still there: ok
 *   donor: mshare_unlink: ok
 *   donor: open after the last unlink: ENOENT
 */
#include "mshare_call_pair.h"

/* The unit of this interface, which had a sysctl; with the file interface it moved. */
static u64 call_unit(void)
{
	long unit = number_in_file(MSHARE_SYSCTL);

	return unit > 0 ? (u64)unit : mshare_unit();
}

static void create_region(u64 start, u64 unit)
{
	int flags = O_CREAT | O_RDWR | O_EXCL;

	print("donor: misaligned address: %s\n",
	      result_name(sys_mshare(NAME, start + PAGE_SIZE, unit, flags, 0600)));
	print("donor: misaligned size: %s\n",
	      result_name(sys_mshare(NAME, start, unit - PAGE_SIZE, flags, 0600)));
	print("donor: create: %s\n",
	      result_name(must(sys_mshare(NAME, start, unit, flags, 0600), "mshare")));
	print("donor: create again: %s\n",
	      result_name(sys_mshare(NAME, start, unit, flags, 0600)));
	print("donor: create again without O_EXCL: %s\n",
	      result_name(sys_mshare(NAME, start, unit, O_CREAT | O_RDWR, 0600)));
	print("donor: unlink of an unknown name: %s\n",
	      result_name(sys_mshare_unlink("no-such-region")));
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
	u64 unit = call_unit();
	char *window;
	int fd;

	(void)argc;
	window = (char *)must(sys_mmap(MSHARE_WINDOW, unit, PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
				       -1, 0), "mmap");
	memcpy(window + EARLY_AT, EARLY, sizeof(EARLY));
	create_region((u64)window, unit);
	memcpy(window + LATE_AT, LATE, sizeof(LATE));

	if (run_consumer(argv + 1, envp) != 0) {
		guest_wrong++;
		print("donor: the consumer failed\n");
	}
	print("donor: \"%s\"\n", window + REPLY_AT);

	fd = sys_open(REGION, O_RDONLY, 0);
	check("donor: the file is still there", fd >= 0);
	sys_close(fd);
	print("donor: mshare_unlink: %s\n", result_name(sys_mshare_unlink(NAME)));
	print("donor: open after the last unlink: %s\n",
	      result_name(sys_open(REGION, O_RDONLY, 0)));
	return guest_wrong != 0;
}
