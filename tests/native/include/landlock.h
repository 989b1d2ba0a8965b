/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Landlock's structures as of ABI 7, and a sandbox in one call. */
#ifndef LANDLOCK_H
#define LANDLOCK_H

#ifndef __NR_landlock_create_ruleset
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule 445
#define __NR_landlock_restrict_self 446
#endif
enum {
	EXECUTE = 1, WRITE_FILE = 2, READ_FILE = 4, READ_DIR = 8, REMOVE_DIR = 16, REMOVE_FILE = 32, MAKE_CHAR = 64,
	MAKE_DIR = 128, MAKE_REG = 256, MAKE_SOCK = 512, MAKE_FIFO = 1024, MAKE_BLOCK = 2048, MAKE_SYM = 4096,
	REFER = 8192, TRUNCATE = 16384, IOCTL_DEV = 32768, ALL = 65535,
};
enum { BIND_TCP = 1, CONNECT_TCP = 2, SCOPE_ABSTRACT = 1, SCOPE_SIGNAL = 2 };

struct ruleset {
	u64 files, net, scoped;
};

UNUSED static int ruleset(u64 files, u64 net, u64 scoped)
{
	struct ruleset attr = { files, net, scoped };

	return MUST(landlock_create_ruleset, &attr, sizeof(attr), 0);
}

UNUSED static long allow(int set, const char *path, u64 access)
{
	struct {
		u64 access;
		int fd;
	} __attribute__((packed)) attr = { access, MUST(open, path, O_PATH) };
	long result = SYS(landlock_add_rule, set, 1, &attr, 0);

	MUST(close, attr.fd);
	return result;
}

UNUSED static void restrict_self(int set)
{
	MUST(prctl, 38 /* PR_SET_NO_NEW_PRIVS */, 1, 0, 0, 0);
	MUST(landlock_restrict_self, set, 0);
	MUST(close, set);
}

#endif
