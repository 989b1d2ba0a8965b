/* SPDX-License-Identifier: GPL-2.0-or-later */
/* User namespaces inside each other: maps by root, rights of the maker, what each sees of the other. */
// needs: root, proc, namespaces
#include "native.h"
#include "idmap.h"

static char path[64];

static const char *of(long pid, const char *file)
{
	char digits[16];
	int n = 0, at = 6;

	memcpy(path, "/proc/", 6);
	for (; pid; pid /= 10)
		digits[n++] = '0' + pid % 10;
	while (n)
		path[at++] = digits[--n];
	memcpy(path + at, file, strlen(file) + 1);
	return path;
}

static void tell(const char *name)
{
	char text[256];
	int fd = MUST(open, name, O_RDONLY);
	long n = MUST(read, fd, text, 255);

	text[n] = 0;
	print("%s", text);
	MUST(close, fd);
}

static void step(int fd) { MUST(write, fd, "x", 1); }
static void await(int fd) { char c; MUST(read, fd, &c, 1); }

int main(void)
{
	int down[2], up[2], down2[2], up2[2];
	long pid;

	MUST(pipe, down);
	MUST(pipe, up);
	MUST(pipe, down2);
	MUST(pipe, up2);
	pid = MUST(clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		long inner;

		step(up[1]);
		await(down[0]);
		print("child: %ld %ld\n", SYS(getuid), SYS(getgid));
		SHOW(setgroups, 0, NULL);
		SHOW(setresgid, 5, 5, 5);
		SHOW(setresuid, 5, 5, 5);
		print("child: %ld %ld\n", SYS(getuid), SYS(getgid));
		show("of one that may not be dumped", put_map("/proc/self/uid_map", "0 0 1"));
		MUST(prctl, 4 /* PR_SET_DUMPABLE */, 1);
		inner = MUST(clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
		if (!inner) {
			step(up2[1]);
			await(down2[0]);
			print("inner: %ld %ld\n", SYS(getuid), SYS(getgid));
			tell("/proc/self/uid_map");
			SHOW(kill, SYS(getppid), 0);
			leave(0);
		}
		await(up2[0]);
		show("deny", put_map(of(inner, "/setgroups"), "deny"));
		show("map of a range", put_map(of(inner, "/uid_map"), "0 5 2"));
		show("map of another", put_map(of(inner, "/uid_map"), "0 6 1"));
		show("map of one", put_map(of(inner, "/uid_map"), "0 5 1"));
		show("groups", put_map(of(inner, "/gid_map"), "0 5 1"));
		tell(of(inner, "/uid_map"));
		step(down2[1]);
		reap(inner);
		leave(0);
	}
	await(up[0]);
	show("map", put_map(of(pid, "/uid_map"), "0 100000 1000\n2000 0 1\n"));
	show("groups", put_map(of(pid, "/gid_map"), "0 100000 1000"));
	show("again", put_map(of(pid, "/gid_map"), "0 100000 1000"));
	tell(of(pid, "/uid_map"));
	tell(of(pid, "/setgroups"));
	step(down[1]);
	reap(pid);
	return 0;
}
