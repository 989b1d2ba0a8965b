/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keyrings in each other, so that there are many ways to each; and what their links count. */
#include "native.h"
#include <linux/keyctl.h>

#define LEVELS 5
#define WIDTH 12

int main(void)
{
	int top = MUST(add_key, "keyring", "top", NULL, 0, KEY_SPEC_PROCESS_KEYRING);
	int ring[LEVELS][WIDTH];
	char name[] = "r00";

	for (int level = 0; level < LEVELS; level++) {
		for (int i = 0; i < WIDTH; i++) {
			name[1] = '0' + level;
			name[2] = 'a' + i;
			ring[level][i] = MUST(add_key, "keyring", name, NULL, 0, KEY_SPEC_PROCESS_KEYRING);
		}
	}
	for (int level = LEVELS - 1; level > 0; level--)
		for (int i = 0; i < WIDTH; i++)
			for (int j = 0; j < WIDTH; j++)
				MUST(keyctl, KEYCTL_LINK, ring[level][j], ring[level - 1][i]);
	for (int i = 0; i < WIDTH; i++)
		MUST(keyctl, KEYCTL_LINK, ring[0][i], top);
	SHOW(keyctl, KEYCTL_SEARCH, top, "user", "none", 0);
	int key = MUST(add_key, "user", "some", "x", 1, ring[LEVELS - 1][WIDTH - 1]);
	SAY(SYS(keyctl, KEYCTL_SEARCH, top, "user", "some", 0) == key);
	SAY(SYS(keyctl, KEYCTL_LINK, top, ring[LEVELS - 1][0]) == -EDEADLK);
	SAY(SYS(keyctl, KEYCTL_MOVE, key, ring[LEVELS - 1][WIDTH - 1], ring[LEVELS - 1][WIDTH - 1], 0));
	SAY(SYS(keyctl, KEYCTL_MOVE, key, top, top, 0));
	SAY(SYS(keyctl, KEYCTL_SEARCH, top, "user", "some", 0) == key);
	SAY(SYS(keyctl, KEYCTL_MOVE, key, ring[LEVELS - 1][WIDTH - 1], top, 0));
	SAY(SYS(keyctl, KEYCTL_MOVE, key, ring[LEVELS - 1][WIDTH - 1], top, 0));
	SHOW(keyctl, KEYCTL_CLEAR, KEY_SPEC_PROCESS_KEYRING);
	return 0;
}
