/* SPDX-License-Identifier: GPL-2.0-or-later */
/* listmount(2) and statmount(2): the mounts of the namespace, each by its number. */
// since: 6.8
// needs: root
#include "native.h"

struct request { u32 size, fd; u64 number, parameter; };

#define ROOT (~0UL)

int main(void)
{
	u64 numbers[64], room[128], all;
	struct request list = { sizeof(list), 0, ROOT, 0 }, one = list, odd = list;
	long found = SYS(listmount, &list, numbers, COUNT(numbers), 0);

	print("mounts: %d\n", found > 0);
	list.parameter = numbers[0];
	print("after the first there is one less: %d\n", SYS(listmount, &list, numbers + 1, COUNT(numbers) - 1, 0) == found - 1);
	SHOW(listmount, &list, numbers, 2, 2);
	SHOW(listmount, &list, NOWHERE, 1, 0);
	SHOW(listmount, NOWHERE, numbers, 2, 0);
	list.size = 23;
	SHOW(listmount, &list, numbers, 2, 0);
	list.size = 5000;
	SHOW(listmount, &list, numbers, 2, 0);
	list = (struct request){ sizeof(list), 0, 7, 0 };
	SHOW(listmount, &list, numbers, 2, 0);
	one.number = numbers[0];
	one.parameter = 2; /* STATMOUNT_MNT_BASIC */
	SHOW(statmount, &one, room, sizeof(room), 0);
	all = room[1];
	print("mask %ld, its number is that: %d\n", (long)all, room[5] == numbers[0]);
	SHOW(statmount, &one, room, sizeof(room), 1);
	SHOW(statmount, &one, NOWHERE, sizeof(room), 0);
	SHOW(statmount, NOWHERE, room, sizeof(room), 0);
	odd.number = 7;
	SHOW(statmount, &odd, room, sizeof(room), 0);
	one.size = 8;
	SHOW(statmount, &one, room, sizeof(room), 0);
	return 0;
}
