/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Landlock: what may be opened, made and removed beneath the directories that rules name. */
// since: 6.18
#include "native.h"
#include "landlock.h"

static void use(const char *name)
{
	print("%s:\n", name);
	SHOW(chdir, name);
	for (int n = 0; n < 3; n++) {
		int fd = SYS(open, "file", n);
		print("  open %d: %s\n", n, result_name(fd));
		SYS(close, fd);
	}
	int fd = SYS(open, ".", O_RDONLY | O_DIRECTORY);
	print("  open . %s\n", result_name(fd));
	SYS(close, fd);
	fd = SYS(open, "file", O_PATH);
	print("  path %s\n", result_name(fd));
	SYS(close, fd);
	struct stat st;
	print("  stat %s\n", result_name(SYS(stat, "file", &st)));
	print("  create %s\n", result_name(SYS(open, "new", O_WRONLY | O_CREAT, 0600)));
	print("  again %s\n", result_name(SYS(open, "new", O_WRONLY | O_CREAT | O_EXCL, 0600)));
	print("  mkdir %s\n", result_name(SYS(mkdir, "sub", 0700)));
	print("  mkdir of what is there %s\n", result_name(SYS(mkdir, "there", 0700)));
	print("  symlink %s\n", result_name(SYS(symlink, "x", "link")));
	print("  fifo %s\n", result_name(SYS(mknod, "fifo", S_IFIFO | 0600, 0)));
	print("  socket %s\n", result_name(SYS(mknod, "sock", S_IFSOCK | 0600, 0)));
	print("  truncate %s\n", result_name(SYS(truncate, "file", 1)));
	print("  unlink %s\n", result_name(SYS(unlink, "file")));
	print("  unlink nothing %s\n", result_name(SYS(unlink, "nothing")));
	print("  rmdir %s\n", result_name(SYS(rmdir, "there")));
	print("  tmpfile %s\n", result_name(SYS(open, ".", O_RDWR | O_TMPFILE, 0600)));
	print("  chmod %s\n", result_name(SYS(chmod, "fifo", 0644)));
	MUST(chdir, "..");
}

int main(void)
{
	const char *names[] = { "none", "reads", "writes", "makes", "all" };
	MUST(umask, 0);
	MUST(mkdir, "top", 0755);
	MUST(chdir, "top");
	for (u32 n = 0; n < COUNT(names); n++) {
		MUST(mkdir, names[n], 0755);
		MUST(chdir, names[n]);
		put("file", "text");
		MUST(mkdir, "there", 0755);
		MUST(chdir, "..");
	}
	int before = MUST(open, "none/file", O_RDWR);
	int set = ruleset(ALL, 0, 0);
	allow(set, "reads", READ_FILE | READ_DIR);
	allow(set, "writes", WRITE_FILE);
	allow(set, "makes", MAKE_REG | MAKE_DIR | MAKE_SYM | MAKE_FIFO | MAKE_SOCK);
	allow(set, "all", ALL);
	print("rule for one file: %s\n", result_name(allow(set, "none/file", READ_FILE)));
	restrict_self(set);
	for (u32 n = 0; n < COUNT(names); n++)
		use(names[n]);
	print("opened before: %ld %ld\n", SYS(write, before, "x", 1), SYS(ftruncate, before, 2));
	SHOW(open, "none/../all/new", O_RDONLY);
	SHOW(open, "/proc/self/status", O_RDONLY);
	return 0;
}
