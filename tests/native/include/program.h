/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests that execute themselves again. */
#ifndef PROGRAM_H
#define PROGRAM_H

/* A copy of this program. */
__attribute__((unused)) static void copy(const char *path, int mode)
{
	static char buffer[65536];
	int from = MUST(open, "/proc/self/exe", O_RDONLY), to = MUST(open, path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
	long n = MUST(read, from, buffer, sizeof(buffer));

	MUST(write, to, buffer, n);
	MUST(close, from);
	MUST(close, to);
	MUST(chmod, path, mode);
}

/* The ids of a program that has just been executed, AT_SECURE and ADDR_NO_RANDOMIZE. */
__attribute__((unused)) static int show_ids(char **envp)
{
	u32 user[3], group[3];

	while (*envp++)
		;
	u64 *aux = (u64 *)envp;
	while (*aux != 23)
		aux += 2;
	MUST(getresuid, user, user + 1, user + 2);
	MUST(getresgid, group, group + 1, group + 2);
	print("users %u %u %u, groups %u %u %u, secure %ld, personality %lx\n", user[0], user[1], user[2], group[0], group[1],
	      group[2], aux[1], SYS(personality, -1) & 0x0040000 ? 1L : 0L);
	return 0;
}

#endif
