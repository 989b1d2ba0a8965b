/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setgid(2), setregid(2), setresgid(2) by root and without it. */
// needs: root
#include "native.h"

static const u32 starts[][3] = { { 0, 0, 0 }, { 1, 2, 3 }, { 1, 2, 1 }, { 2, 1, 0 } };
static const u32 ids[] = { 0, 1, 2, 4, -1 };
static void tell(long result)
{
	u32 r, e, s, f;

	MUST(getresgid, &r, &e, &s);
	f = SYS(setfsgid, -1);
	if (failed(result))
		print(" %s", errno_name(-result));
	else
		print(" %u.%u.%u.%u", r, e, s, f);
}
#define TRY(name, ...)																		\
	do {																					  \
		long pid = MUST(fork);																\
		if (!pid) {																		   \
			tell(SYS(name, ##__VA_ARGS__));												   \
			leave(0);																		 \
		}																					 \
		MUST(wait4, pid, NULL, 0, NULL);													  \
	} while (0)

int main(void)
{
	for (u32 i = 0; i < COUNT(starts) * 2; i++) {
		const u32 *start = starts[i / 2];
		long pid = MUST(fork);

		if (!pid) {
			MUST(setresgid, start[0], start[1], start[2]);
			if (i & 1)
				MUST(setresuid, 7, 7, 7);
			print("%u.%u.%u %s setgid:", start[0], start[1], start[2], i & 1 ? "user" : "root");
			for (u32 a = 0; a < COUNT(ids); a++)
				TRY(setgid, ids[a]);
			print("\n");
			for (u32 a = 0; a < COUNT(ids); a++) {
				print("  setregid %d:", (int)ids[a]);
				for (u32 b = 0; b < COUNT(ids); b++)
					TRY(setregid, ids[a], ids[b]);
				print("\n  setresgid %d:", (int)ids[a]);
				for (u32 b = 0; b < COUNT(ids); b++)
					TRY(setresgid, ids[b], -1, ids[a]);
				print("\n");
			}
			leave(0);
		}
		MUST(wait4, pid, NULL, 0, NULL);
	}
	return 0;
}
