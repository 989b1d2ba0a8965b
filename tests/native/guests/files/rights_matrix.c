/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each mode of a file and of a directory, for its owner, its group, others and root. */
// needs: root
#include "native.h"

static const int modes[] = { 0, 0400, 0200, 0100, 0040, 0020, 0010, 0004, 0002, 0001, 0777, 0700, 0070, 0007 };
#define TRY(name, ...)																		\
	({																						\
		long result = SYS(name, ##__VA_ARGS__);											   \
		print(" %s", result_name(result));													\
		result;																			   \
	})

int main(void)
{
	MUST(umask, 0);
	for (u32 m = 0; m < COUNT(modes); m++) {
		char file[4] = { 'f', '0' + m / 10, '0' + m % 10, 0 }, dir[4] = { 'd', '0' + m / 10, '0' + m % 10, 0 };

		put(file, "x");
		MUST(mkdir, dir, 0777);
		MUST(chdir, dir);
		put("in", "x");
		MUST(chdir, "..");
		MUST(chown, file, 10, 20);
		MUST(chown, dir, 10, 20);
		MUST(chmod, file, modes[m]);
		MUST(chmod, dir, modes[m]);
		for (int who = 0; who < 6; who++) {
			long pid = MUST(fork);

			if (!pid) {
				static const u32 users[] = { 0, 10, 11, 11, 11, 10 }, groups[] = { 0, 21, 20, 21, 21, 20 };
				u32 extra = 20;
				char path[8] = { dir[0], dir[1], dir[2], '/', 'i', 'n', 0 }, made[8] = { dir[0], dir[1], dir[2], '/', 'n', 0 };
				struct stat st;
				long fd;

				MUST(setgroups, who == 3, &extra);
				MUST(setresgid, groups[who], groups[who], groups[who]);
				MUST(setresuid, users[who], users[who], users[who]);
				print("%o %s:", modes[m], (const char *[]){ "root", "owner", "group", "member", "other", "both" }[who]);
				TRY(open, file, O_RDONLY);
				TRY(open, file, O_WRONLY);
				TRY(open, file, O_RDWR | O_TRUNC);
				TRY(access, file, 1);
				TRY(truncate, file, 1);
				TRY(utimensat, AT_FDCWD, file, NULL, 0);
				TRY(chmod, file, modes[m]);
				TRY(open, dir, O_RDONLY);
				TRY(access, dir, 7);
				TRY(stat, path, &st);
				TRY(open, path, O_RDONLY);
				TRY(chdir, dir);
				SYS(chdir, "..");
				fd = TRY(open, made, O_RDWR | O_CREAT, 0600);
				if (fd >= 0)
					TRY(unlink, made);
				print("\n");
				leave(0);
			}
			MUST(wait4, pid, NULL, 0, NULL);
		}
	}
	return 0;
}
