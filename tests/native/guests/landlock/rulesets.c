/* SPDX-License-Identifier: GPL-2.0-or-later */
/* landlock_create_ruleset(2), landlock_add_rule(2), landlock_restrict_self(2): what they refuse. */
// since: 6.18
// needs: root
#include "native.h"
#include "landlock.h"

int main(void)
{
	struct ruleset attr = { ALL, 3, 3 }, none = { 0, 0, 0 }, wrong = { 1UL << 16, 0, 0 };
	u64 large[8] = { ALL };
	SHOW(landlock_create_ruleset, NULL, 0, 1);
	SHOW(landlock_create_ruleset, NULL, 0, 2);
	SHOW(landlock_create_ruleset, NULL, 0, 3);
	SHOW(landlock_create_ruleset, &attr, 0, 1);
	SHOW(landlock_create_ruleset, NULL, 24, 0);
	SHOW(landlock_create_ruleset, NOWHERE, 24, 0);
	SHOW(landlock_create_ruleset, &attr, 7, 0);
	SHOW(landlock_create_ruleset, &attr, 5000, 0);
	SHOW(landlock_create_ruleset, &none, 24, 0);
	SHOW(landlock_create_ruleset, &wrong, 24, 0);
	SHOW(landlock_create_ruleset, large, 64, 0);
	large[5] = 1;
	SHOW(landlock_create_ruleset, large, 64, 0);
	MUST(close, 3);
	SHOW(landlock_create_ruleset, &attr, 24, 0);
	SHOW(fcntl, 3, F_GETFD);
	char byte;
	SHOW(read, 3, &byte, 1);
	SHOW(write, 3, &byte, 1);
	put("file", "x");
	int few = ruleset(READ_FILE, BIND_TCP, 0);
	struct {
		u64 access;
		int fd;
	} __attribute__((packed)) path = { READ_FILE, MUST(open, ".", O_PATH) };
	struct {
		u64 access, port;
	} port = { BIND_TCP, 80 };
	SHOW(landlock_add_rule, few, 1, &path, 1);
	SHOW(landlock_add_rule, few, 3, &path, 0);
	SHOW(landlock_add_rule, 0, 1, &path, 0);
	SHOW(landlock_add_rule, 99, 1, &path, 0);
	SHOW(landlock_add_rule, few, 1, NOWHERE, 0);
	SHOW(landlock_add_rule, few, 1, &path, 0);
	SHOW(landlock_add_rule, few, 1, &path, 0);
	path.access = WRITE_FILE;
	SHOW(landlock_add_rule, few, 1, &path, 0);
	path.access = 0;
	SHOW(landlock_add_rule, few, 1, &path, 0);
	path.access = READ_FILE;
	path.fd = 99;
	SHOW(landlock_add_rule, few, 1, &path, 0);
	path.fd = few;
	SHOW(landlock_add_rule, few, 1, &path, 0);
	int fds[2];
	MUST(pipe, fds);
	path.fd = fds[0];
	SHOW(landlock_add_rule, few, 1, &path, 0);
	SHOW(landlock_add_rule, few, 2, &port, 0);
	port.access = CONNECT_TCP;
	SHOW(landlock_add_rule, few, 2, &port, 0);
	port.access = 0;
	SHOW(landlock_add_rule, few, 2, &port, 0);
	port.access = BIND_TCP;
	port.port = 65536;
	SHOW(landlock_add_rule, few, 2, &port, 0);
	SHOW(landlock_add_rule, few, 2, NOWHERE, 0);
	print("directory's right on a file: %s\n", result_name(allow(3, "file", READ_DIR)));
	print("a file's right on a file: %s\n", result_name(allow(3, "file", READ_FILE | EXECUTE)));
	SHOW(landlock_restrict_self, 99, 0);
	SHOW(landlock_restrict_self, 0, 0);
	SHOW(landlock_restrict_self, few, 8);
	SHOW(landlock_restrict_self, -1, 4);
	SHOW(landlock_restrict_self, -1, 0);
	for (int n = 0; n < 16; n++)
		MUST(landlock_restrict_self, few, 0);
	SHOW(landlock_restrict_self, few, 0);
	become(1000);
	SHOW(landlock_restrict_self, few, 0);
	SHOW(landlock_restrict_self, few, 8);
	return 0;
}
