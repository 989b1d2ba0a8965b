/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setuid(2), setreuid(2), setresuid(2) from several ids to several ids. */
// needs: root
#include "native.h"

static const u32 starts[][3] = { { 0, 0, 0 }, { 1, 0, 0 }, { 0, 1, 0 }, { 1, 1, 0 }, { 1, 2, 1 }, { 1, 2, 3 }, { 1, 1, 1 }, { 2, 1, 0 } };
static const u32 ids[] = { 0, 1, 2, 4, -1 };
static void tell(long result)
{
	u32 r, e, s, f;

	MUST(getresuid, &r, &e, &s);
	f = SYS(setfsuid, -1);
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
	for (u32 i = 0; i < COUNT(starts); i++) {
		long pid = MUST(fork);

		if (!pid) {
			MUST(setresuid, starts[i][0], starts[i][1], starts[i][2]);
			print("%u.%u.%u setuid:", starts[i][0], starts[i][1], starts[i][2]);
			for (u32 a = 0; a < COUNT(ids); a++)
				TRY(setuid, ids[a]);
			print("\n");
			for (u32 a = 0; a < COUNT(ids); a++) {
				print("  setreuid %d:", (int)ids[a]);
				for (u32 b = 0; b < COUNT(ids); b++)
					TRY(setreuid, ids[a], ids[b]);
				print("\n  setresuid %d:", (int)ids[a]);
				for (u32 b = 0; b < COUNT(ids); b++)
					TRY(setresuid, ids[b], -1, ids[a]);
				for (u32 b = 0; b < COUNT(ids); b += 2)
					TRY(setresuid, -1, ids[b], ids[a]);
				print("\n");
			}
			leave(0);
		}
		MUST(wait4, pid, NULL, 0, NULL);
	}
	return 0;
}
