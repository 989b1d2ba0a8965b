/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Landlock: something is moved or linked to another directory only if that does not free it (REFER). */
// since: 6.18
#include "native.h"
#include "landlock.h"

static void try_move(const char *from, const char *to)
{
	long moved = SYS(rename, from, to);
	print("%s -> %s: %s", from, to, result_name(moved));
	if (!moved)
		MUST(rename, to, from);
	long linked = SYS(link, from, to);
	print(", link %s\n", result_name(linked));
	if (!linked)
		SYS(unlink, to);
}

static void all_moves(void)
{
	try_move("a/file", "a/other");
	try_move("a/file", "b/file2");
	try_move("a/file", "c/file2");
	try_move("b/file", "a/file2");
	try_move("b/file", "c/file2");
	try_move("c/file", "a/file2");
	try_move("c/file", "b/file2");
	try_move("a/dir", "b/dir2");
	try_move("b/dir", "a/dir2");
	print("exchange: %s %s\n", result_name(SYS(renameat2, AT_FDCWD, "a/file", AT_FDCWD, "b/file", 2)),
	      result_name(SYS(renameat2, AT_FDCWD, "a/file", AT_FDCWD, "a/dir", 2)));
	print("onto: %s\n", result_name(SYS(rename, "a/file", "c/file")));
	print("nothing: %s\n", result_name(SYS(rename, "a/nothing", "c/file")));
}

static void in_child(int which)
{
	long child = MUST(fork);
	if (!child) {
		int set = which == 4 ? ruleset(READ_FILE | EXECUTE, 0, 0) : ruleset(ALL, 0, 0);
		if (which == 0) {
			allow(set, ".", ALL & ~REFER);
		} else if (which == 1) {
			allow(set, ".", ALL);
		} else if (which == 2) {
			allow(set, ".", ALL & ~(EXECUTE | READ_FILE));
			allow(set, "a", EXECUTE);
			allow(set, "b", EXECUTE | READ_FILE);
		} else if (which == 3) {
			allow(set, "a", REFER | REMOVE_FILE | REMOVE_DIR | MAKE_REG | MAKE_DIR);
			allow(set, "b", REFER | MAKE_REG | MAKE_DIR);
		}
		restrict_self(set);
		print("rules %d\n", which);
		all_moves();
		leave(0);
	}
	reap(child);
	SYS(mkdir, "a/dir", 0755);
	put("a/file", "a");
	put("b/file", "b");
	put("c/file", "c");
}

int main(void)
{
	const char *names[] = { "a", "b", "c", "a/dir", "b/dir" };
	for (u32 n = 0; n < COUNT(names); n++)
		MUST(mkdir, names[n], 0755);
	put("a/file", "a");
	put("b/file", "b");
	put("c/file", "c");
	for (int which = 0; which < 5; which++)
		in_child(which);
	return 0;
}
