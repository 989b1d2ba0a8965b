/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Data of two files by calls and by mappings, by chance. */
#define WHOLE_LINES
#include "native.h"

static char room[3 * PAGE];
static u32 sum(const char *p, long n)
{
	u32 s = 1;

	for (long i = 0; i < n; i++)
		s = s * 31 + (u8)p[i];
	return s & 0xffff;
}

int main(void)
{
	int fds[4];
	char *maps[2];
	put("a", "");
	put("b", "");
	fds[0] = MUST(open, "a", O_RDWR), fds[1] = MUST(open, "b", O_RDWR), fds[2] = MUST(open, "a", O_RDWR | O_APPEND), fds[3] = MUST(dup, fds[0]);
	for (int i = 0; i < 2; i++)
		maps[i] = (void *)MUST(mmap, 0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0);
	for (int line = 0; line < 120; line++) {
		for (int i = 0; i < 10; i++) {
			int which = chance(4), fd = fds[which], other = fds[which == 1 ? 0 : 1], n = chance(6000), at = chance(3) ? chance(7 * PAGE) : chance(7) * PAGE;
			struct stat st;
			long result, offset = at, to = chance(5 * PAGE);
			struct iovec v[2] = { { room, n / 2 }, { room + PAGE, n / 3 } };
			u32 file = chance(2);

			memset(room, 'a' + chance(26), sizeof(room));
			switch (chance(15)) {
			case 0:
				print(" w%ld", SYS(write, fd, room, n));
				break;
			case 1:
				result = SYS(read, fd, room, n);
				print(" r%ld.%x", result, sum(room, result));
				break;
			case 2:
				print(" W%ld", SYS(pwrite64, fd, room, n, at));
				break;
			case 3:
				result = SYS(pread64, fd, room, n, at);
				print(" R%ld.%x", result, sum(room, result));
				break;
			case 4:
				print(" l%ld", SYS(lseek, fd, chance(2) ? at : -(long)chance(5000), chance(3)));
				break;
			case 5:
				print(" t%ld", SYS(ftruncate, fd, at));
				break;
			case 6:
				print(" f%ld", SYS(fallocate, fd, chance(4), at, 1 + n));
				break;
			case 7:
				print(" v%ld", SYS(writev, fd, v, 2));
				break;
			case 8:
				result = SYS(readv, fd, v, 2);
				print(" V%ld.%x", result, sum(room, n / 2));
				break;
			case 9:
				print(" s%ld", SYS(sendfile, fd, other, chance(2) ? &offset : NULL, n));
				break;
			case 10:
				print(" c%ld", SYS(copy_file_range, other, &offset, fd, &to, n, 0));
				break;
			case 11:
				MUST(fstat, fds[file], &st);
				if (at < st.st_size) {
					maps[file][at] = 'A' + chance(26);
					print(" m");
				}
				break;
			case 12:
				MUST(fstat, fds[file], &st);
				if (at < st.st_size)
					print(" M%x", sum(maps[file] + at, st.st_size - at < 8 * (long)PAGE - at ? st.st_size - at : 8 * (long)PAGE - at));
				break;
			case 13:
				MUST(fstat, fds[file], &st);
				print(" S%ld.%ld", (long)st.st_size, (long)st.st_blocks);
				break;
			default:
				print(" h%ld", SYS(fallocate, fd, 3, at, 1 + n));
			}
		}
		print("\n");
	}
	return 0;
}
