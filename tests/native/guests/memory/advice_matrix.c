/* SPDX-License-Identifier: GPL-2.0-or-later */
/* madvise(2): each advice on three of four pages of each kind of mapping, two of which are there, and what it leaves. */
// since: 6.18
// needs: proc
#include "mappings.h"

static int file, readable, sealedfd, zero, secret;
static const char *const names[] = {
	"private", "shared", "none", "readonly", "exec", "droppable", "growsdown", "locked", "onfault", "sealed",
	"sealed ro", "file private", "file shared", "file ro private", "file ro shared", "sealed file",
	"zero private", "zero shared", "secret", "guarded", "noreserve", "populated zero", "shared none",
	"dontfork", "wipeonfork", "cowed file",
};
static char *make(int kind, char *p)
{
	switch (kind) {
	case 0:
		at(p, 4, RW, PRIVATE, -1, 0);
		break;
	case 1:
		at(p, 4, RW, SHARED, -1, 0);
		break;
	case 2:
		at(p, 4, RW, PRIVATE, -1, 0);
		touch(p, 2);
		MUST(mprotect, p, 4 * PAGE, 0);
		return p;
	case 3:
		at(p, 4, RW, PRIVATE, -1, 0);
		touch(p, 2);
		MUST(mprotect, p, 4 * PAGE, 1);
		return p;
	case 4:
		at(p, 4, 7, PRIVATE, -1, 0);
		break;
	case 5:
		at(p, 4, RW, 8 | MAP_ANONYMOUS, -1, 0);
		break;
	case 6:
		at(p, 4, RW, PRIVATE | MAP_GROWSDOWN, -1, 0);
		break;
	case 7:
		at(p, 4, RW, PRIVATE | MAP_LOCKED, -1, 0);
		break;
	case 8:
		at(p, 4, RW, PRIVATE, -1, 0);
		MUST(mlock2, p, 4 * PAGE, 1);
		break;
	case 9:
		at(p, 4, RW, PRIVATE, -1, 0);
		touch(p, 2);
		MUST(mseal, p, 4 * PAGE, 0);
		return p;
	case 10:
		at(p, 4, RW, PRIVATE, -1, 0);
		touch(p, 2);
		MUST(mprotect, p, 4 * PAGE, 1);
		MUST(mseal, p, 4 * PAGE, 0);
		return p;
	case 11:
		at(p, 4, RW, MAP_PRIVATE, file, 0);
		look(p + 3 * PAGE);
		break;
	case 12:
		at(p, 4, RW, MAP_SHARED, file, 0);
		break;
	case 13:
		at(p, 4, 1, MAP_PRIVATE, readable, 0);
		look(p);
		return p;
	case 14:
		at(p, 4, 1, MAP_SHARED, readable, 0);
		look(p);
		return p;
	case 15:
		at(p, 4, 1, MAP_SHARED, sealedfd, 0);
		look(p);
		return p;
	case 16:
		at(p, 4, RW, MAP_PRIVATE, zero, 0);
		break;
	case 17:
		at(p, 4, RW, MAP_SHARED, zero, 0);
		break;
	case 18:
		at(p, 4, RW, MAP_SHARED, secret, 0);
		break;
	case 19:
		at(p, 4, RW, PRIVATE, -1, 0);
		MUST(madvise, p + 2 * PAGE, PAGE, 102);
		break;
	case 20:
		at(p, 4, RW, PRIVATE | MAP_NORESERVE, -1, 0);
		break;
	case 21:
		at(p, 4, 1, PRIVATE | MAP_POPULATE, -1, 0);
		return p;
	case 22:
		at(p, 4, RW, SHARED, -1, 0);
		touch(p, 2);
		MUST(mprotect, p, 4 * PAGE, 0);
		return p;
	case 23:
		at(p, 4, RW, PRIVATE, -1, 0);
		MUST(madvise, p, 4 * PAGE, MADV_DONTFORK);
		break;
	case 24:
		at(p, 4, RW, PRIVATE, -1, 0);
		MUST(madvise, p, 4 * PAGE, MADV_WIPEONFORK);
		break;
	case 25:
		at(p, 4, RW, MAP_PRIVATE, file, 0);
		look(p + 2 * PAGE);
		break;
	}
	touch(p, 2);
	return p;
}

static long number_of(const char *text, const char *name)
{
	const char *found = find(text, name) + strlen(name);

	while (*found == ' ')
		found++;
	return number_at(&found, 10);
}

/* Pages, and of smaps the flags that tell more than rights, what is anonymous, used and written. */
static void show_state(char *p)
{
	u8 there;

	print(" [");
	for (int i = 0; i < 4; i++) {
		long result = SYS(mincore, p + i * PAGE, PAGE, &there);

		print("%s%lx%s", i ? " " : "", mapped(p + i * PAGE), result < 0 ? "!" : there & 1 ? "+" : "");
	}
	read_all("/proc/self/smaps");
	for (const char *line = native_maps; *line; line++) {
		if (number_at(&line, 16) == (u64)p && *line == '-') {
			const char *flags = find(line, "VmFlags:") + 9;

			print("] %ld %ld %ld", number_of(line, "Anonymous:"), number_of(line, "Referenced:"),
			      number_of(line, "Private_Dirty:"));
			for (; *flags != '\n'; flags += 3)
				if (!find("rd wr ex mr mw me sh ms ac ", (char[]){ flags[0], flags[1], ' ', 0 }))
					print(" %c%c", flags[0], flags[1]);
			break;
		}
		while (*line != '\n')
			line++;
	}
	print("\n");
}

/* Tells of pages that are gathered on the way to a list. */
static void drain(void)
{
	static char own[PAGE] __attribute__((aligned(4096)));

	MUST(madvise, own, PAGE, MADV_POPULATE_READ);
}

int main(void)
{
	static const int advices[] = { 0,  1,  2,  3,  4,  8,  9,  10, 11, 14,	15,  16,  17,
				       18, 19, 20, 21, 22, 23, 24, 26, 27, 102, 103, 104, -1 };
	char path[] = "/proc/self/fd/ ";
	u64 one = 1;

	SYS(sched_setaffinity, 0, 8, &one);
	file = file_of(6);
	sealedfd = MUST(memfd_create, "s", MFD_ALLOW_SEALING);
	MUST(ftruncate, sealedfd, 4 * PAGE);
	MUST(fcntl, sealedfd, F_ADD_SEALS, F_SEAL_WRITE);
	path[14] = '0' + file;
	readable = MUST(open, path, O_RDONLY);
	zero = MUST(open, "/dev/zero", O_RDWR);
	secret = MUST(memfd_secret, 0);
	MUST(ftruncate, secret, 4 * PAGE);
	for (u32 kind = 0; kind < COUNT(names); kind++) {
		print("== %s\n", names[kind]);
		for (u32 i = 0; i < COUNT(advices); i++) {
			char *p = make(kind, area());

			drain();
			print("%d %s", advices[i], result_name(SYS(madvise, p, 3 * PAGE, advices[i])));
			drain();
			show_state(p);
			MUST(pwrite64, file, "F", 1, 0);
			MUST(pwrite64, file, "F", 1, PAGE);
			SYS(munmap, p, 4 * PAGE);
		}
	}
	return 0;
}
