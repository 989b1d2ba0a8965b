/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs: proc */
/* What personality(2) asks for: how memory is laid out and can be executed, names of the system, timeouts that stay. */
#include "native.h"

#include <sys/personality.h>
#include <sys/utsname.h>

static char maps[16384];

/* Prints the rights of the mapping at an address. */
static void rights(const char *what, u64 address)
{
	int fd = MUST(open, "/proc/self/maps", O_RDONLY), used = 0, n;

	while ((n = MUST(read, fd, maps + used, sizeof(maps) - 1 - used)) > 0)
		used += n;
	MUST(close, fd);
	maps[used] = 0;
	for (char *at = maps; *at; at++) {
		u64 ends[2] = { 0, 0 };
		for (int i = 0; i < 2; i++, at++)
			for (; *at != '-' && *at != ' '; at++)
				ends[i] = ends[i] * 16 + (*at <= '9' ? *at - '0' : *at - 'a' + 10);
		if (ends[0] <= address && address < ends[1]) {
			at[4] = 0;
			print("%s: %s\n", what, at);
			return;
		}
		while (*at != '\n')
			at++;
	}
	print("%s: nothing\n", what);
}

int main(int argc, char **argv, char **envp)
{
	u64 here = (u64)&here;
	char *next[] = { "self", "again", NULL };
	struct utsname name;

	SAY(SYS(personality, -1) & ~ADDR_NO_RANDOMIZE);
	if (argc > 1) {
		rights("page zero", 0);
		rights("stack", here);
		rights("code", (u64)main);
		print("bottom up: %d\n", SYS(mmap, 0, PAGE, 1, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) >> 44 == 2);
		return 0;
	}
	(void)argv;
	char *before = anonymous(2 * PAGE, MAP_PRIVATE);
	char *heap = (char *)SYS(brk, 0);
	SYS(personality, READ_IMPLIES_EXEC | UNAME26 | STICKY_TIMEOUTS);
	SHOW(personality, -1);
	rights("before", (u64)before);
	rights("after", (u64)anonymous(PAGE, MAP_PRIVATE));
	rights("not readable", MUST(mmap, 0, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	SHOW(mprotect, before, PAGE, PROT_READ);
	rights("changed", (u64)before);
	SYS(brk, heap + 2 * PAGE);
	rights("heap", (u64)heap + PAGE);
	SYS(uname, &name);
	name.release[6] = 0;
	SAY(same(name.release, "2.6.78") || same(name.release, "2.6.77"));
	struct timeval time = { 0, 1000 };
	SHOW(select, 0, NULL, NULL, NULL, &time);
	SAY(time.tv_usec);
	SYS(personality, PER_LINUX32);
	SYS(uname, &name);
	print("%s\n", name.machine);
	struct timespec spec = { 0, 1000 };
	SHOW(ppoll, NULL, 0, &spec, NULL, 0);
	SAY(spec.tv_nsec);
	SHOW(personality, MMAP_PAGE_ZERO | ADDR_COMPAT_LAYOUT | READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE);
	SHOW(execve, "/proc/self/exe", next, envp);
	return 1;
}
