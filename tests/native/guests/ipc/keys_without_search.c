/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may not search a key, or a keyring on the way to it, does not possess it. */
#include "native.h"
#include <linux/keyctl.h>

#define ALL 0x3f010000
#define WITHOUT_SEARCH 0x37010000
#define NOTHING 0x00010000

int main(void)
{
	int outer = MUST(add_key, "keyring", "outer", NULL, 0, KEY_SPEC_PROCESS_KEYRING);
	int inner = MUST(add_key, "keyring", "inner", NULL, 0, outer);
	int key = MUST(add_key, "user", "key", "x", 1, inner);
	int process = MUST(keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0);
	int in_turn[] = {key, inner, outer};

	for (int i = 0; i < 3; i++) {
		MUST(keyctl, KEYCTL_SETPERM, in_turn[i], WITHOUT_SEARCH);
		SHOW(keyctl, KEYCTL_READ, key, NULL, 0);
		SHOW(keyctl, KEYCTL_READ, inner, NULL, 0);
		SHOW(keyctl, KEYCTL_READ, outer, NULL, 0);
		SHOW(keyctl, KEYCTL_SEARCH, process, "user", "key", 0);
		SHOW(request_key, "user", "key", NULL, 0);
		SHOW(keyctl, KEYCTL_SETPERM, in_turn[i], ALL);
		SHOW(keyctl, KEYCTL_SETPERM, key, ALL);
		SHOW(keyctl, KEYCTL_LINK, in_turn[i], KEY_SPEC_THREAD_KEYRING);
		SHOW(keyctl, KEYCTL_READ, in_turn[i], NULL, 0);
	}
	SHOW(keyctl, KEYCTL_SETPERM, process, WITHOUT_SEARCH);
	SHOW(keyctl, KEYCTL_READ, key, NULL, 0);
	SHOW(keyctl, KEYCTL_READ, process, NULL, 0);
	SHOW(keyctl, KEYCTL_READ, KEY_SPEC_PROCESS_KEYRING, NULL, 0);
	SHOW(request_key, "user", "key", NULL, 0);
	SHOW(keyctl, KEYCTL_SETPERM, key, NOTHING);
	SHOW(keyctl, KEYCTL_READ, key, NULL, 0);
	return 0;
}
