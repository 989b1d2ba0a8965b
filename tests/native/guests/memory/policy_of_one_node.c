/* SPDX-License-Identifier: GPL-2.0-or-later */
/* get_mempolicy(2) of who has set no policy, on a machine with one node. */
#include "native.h"
int main(void)
{
	int mode = 7;
	static u64 mask[1024];
	char *page = (char *)MUST(mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(mask, 255, 128);
	SHOW(get_mempolicy, &mode, mask, 1024, NULL, 0); SAY(mode); SAY(mask[0]==0); SAY(mask[15]==0);
	memset(mask, 255, 128);
	SHOW(get_mempolicy, NULL, mask, 1024, NULL, 4); SAY(mask[0]); SAY(mask[15]==0);
	memset(mask, 255, 128);
	SHOW(get_mempolicy, NULL, mask, 0, NULL, 4);
	SHOW(get_mempolicy, NULL, mask, 1, NULL, 4); SAY(mask[0]==~0UL);
	SHOW(get_mempolicy, NULL, mask, 2, NULL, 4); SAY(mask[0]); SAY(mask[1]==~0UL);
	SHOW(get_mempolicy, NULL, mask, 65, NULL, 4);SAY(mask[0]); SAY(mask[1]==~0UL);
	SHOW(get_mempolicy, NULL, mask, 66, NULL, 4);SAY(mask[0]); SAY(mask[1]==~0UL);
	SHOW(get_mempolicy, NULL, mask, 32768, NULL, 4);
	SHOW(get_mempolicy, NULL, mask, 32770+64, NULL, 4);
	SHOW(get_mempolicy, NULL, NULL, 0, NULL, 0);
	SHOW(get_mempolicy, NULL, NULL, 0, page, 0);
	SHOW(get_mempolicy, &mode, NULL, 0, page, 2); SAY(mode);
	SHOW(get_mempolicy, &mode, NULL, 0, page, 3); SAY(mode);
	SHOW(get_mempolicy, &mode, NULL, 0, NOWHERE, 2);
	SHOW(get_mempolicy, &mode, NULL, 0, NOWHERE, 3);
	SHOW(get_mempolicy, &mode, NULL, 0, NULL, 1);
	SHOW(get_mempolicy, &mode, NULL, 0, NULL, 5);
	SHOW(get_mempolicy, &mode, NULL, 0, page, 6);
	SHOW(get_mempolicy, &mode, NULL, 0, page, 4);
	SHOW(get_mempolicy, &mode, NULL, 0, NULL, 8);
	SHOW(get_mempolicy, NOWHERE, NULL, 0, NULL, 0);
	SHOW(get_mempolicy, &mode, NOWHERE, 64, NULL, 0);
	SHOW(get_mempolicy, &mode, NOWHERE, 64, NULL, 8);
	return 0;
}
