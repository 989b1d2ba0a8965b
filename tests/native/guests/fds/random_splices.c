/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes through three pipes by read, write, splice, tee, vmsplice and sendfile, by chance. */
#include "native.h"
#include <sys/socket.h>

static char room[9000], source[9000];
static u32 sum(const char *p, long n)
{
	u32 s = 1;

	for (long i = 0; i < n; i++)
		s = s * 31 + (u8)p[i];
	return s & 0xffff;
}

int main(void)
{
	int p[3][2], s[2], value = 0;
	put("file", "");
	int file = MUST(open, "file", O_RDWR);
	for (u32 i = 0; i < sizeof(room); i++)
		source[i] = i * 7;
	MUST(pwrite64, file, source, sizeof(source), 0);
	put("to", "");
	int target = MUST(open, "to", O_RDWR);
	for (int i = 0; i < 3; i++)
		MUST(pipe2, p[i], O_NONBLOCK);
	MUST(socketpair, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
	for (int line = 0; line < 120; line++) {
		for (int i = 0; i < 8; i++) {
			int x = chance(3), y = chance(3), n = chance(3) ? chance(3000) : chance(100);
			long result, offset = chance(9000);
			struct iovec v = { source + chance(100), n }, w = { room, n };

			switch (chance(10)) {
			case 0:
				print(" w%ld", SYS(write, p[x][1], source + chance(500), n));
				break;
			case 1:
			case 2:
				result = SYS(read, p[x][0], room, n);
				print(" r%ld.%x", result, sum(room, result));
				break;
			case 3:
				print(" p%ld", SYS(splice, p[x][0], NULL, p[y][1], NULL, n, 2));
				break;
			case 4:
				print(" t%ld", SYS(tee, p[x][0], p[y][1], n, 2));
				break;
			case 5:
				print(" f%ld", SYS(splice, file, &offset, p[x][1], NULL, n, 2));
				break;
			case 6:
				print(" F%ld", SYS(splice, p[x][0], NULL, target, &offset, n, 2));
				break;
			case 7:
				print(" v%ld", SYS(vmsplice, p[x][1], &v, 1, 2));
				break;
			case 8:
				result = SYS(vmsplice, p[x][0], &w, 1, 2);
				print(" V%ld.%x", result, sum(room, result));
				break;
			default:
				SYS(ioctl, p[x][0], 0x541b, &value);
				print(" n%d", value);
			}
		}
		print("\n");
	}
	return 0;
}
