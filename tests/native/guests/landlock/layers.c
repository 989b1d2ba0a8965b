/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Landlock: a second layer takes more away, and gives nothing back; children inherit, parents do not. */
// since: 6.18
#include "native.h"
#include "landlock.h"

static void look(void)
{
	print("a %s, a for writing %s, b %s, b for writing %s, top %s\n", result_name(SYS(open, "a/file", O_RDONLY)),
	      result_name(SYS(open, "a/file", O_WRONLY)), result_name(SYS(open, "b/file", O_RDONLY)),
	      result_name(SYS(open, "b/file", O_WRONLY)), result_name(SYS(open, "file", O_RDONLY)));
}

int main(void)
{
	MUST(mkdir, "a", 0755);
	MUST(mkdir, "b", 0755);
	put("a/file", "a");
	put("b/file", "b");
	put("file", "top");
	look();
	long child = MUST(fork);
	if (!child) {
		int set = ruleset(READ_FILE, 0, 0);
		allow(set, "a", READ_FILE);
		allow(set, "b", READ_FILE);
		restrict_self(set);
		look();
		set = ruleset(READ_FILE | WRITE_FILE, 0, 0);
		allow(set, ".", READ_FILE);
		allow(set, "a", WRITE_FILE);
		restrict_self(set);
		look();
		child = MUST(fork);
		if (!child) {
			set = ruleset(ALL, 0, 0);
			restrict_self(set);
			look();
			return 0;
		}
		reap(child);
		look();
		set = ruleset(0, BIND_TCP, 0);
		restrict_self(set);
		look();
		SHOW(rename, "a/file", "b/file");
		return 0;
	}
	reap(child);
	look();
	int set = ruleset(0, BIND_TCP, SCOPE_SIGNAL);
	restrict_self(set);
	look();
	SHOW(rename, "a/file", "b/file");
	return 0;
}
