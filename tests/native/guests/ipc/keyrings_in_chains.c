/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How deep keyrings go into one another, and which keys of another user and of nobody there may be. */
// needs: root
#include "native.h"
#include <linux/keyctl.h>

#define LONG 12
#define MANY 210
#define OTHER 47110815

int main(void)
{
	int ring[LONG], key[MANY], given = 0;
	char name[] = "r000";

	MUST(keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	for (int i = 0; i < LONG; i++) {
		name[3] = 'a' + i;
		ring[i] = MUST(add_key, "keyring", name, NULL, 0, KEY_SPEC_PROCESS_KEYRING);
	}
	for (int i = 0; i < LONG - 1; i++)
		SHOW(keyctl, KEYCTL_LINK, ring[i + 1], ring[i]);
	for (int i = 0; i < LONG; i++)
		SHOW(keyctl, KEYCTL_LINK, ring[i], ring[LONG - 1]);
	int top = MUST(add_key, "keyring", "top", NULL, 0, KEY_SPEC_PROCESS_KEYRING);
	for (int i = 0; i < LONG; i++) {
		SHOW(keyctl, KEYCTL_LINK, ring[i], top);
		SHOW(keyctl, KEYCTL_UNLINK, ring[i], top);
	}

	for (int i = 0; i < MANY; i++) {
		name[1] = '0' + i / 100;
		name[2] = '0' + i / 10 % 10;
		name[3] = '0' + i % 10;
		key[i] = MUST(add_key, "user", name, "x", 1, KEY_SPEC_PROCESS_KEYRING);
	}
	long result = 0;
	while (given < MANY && !failed(result = SYS(keyctl, KEYCTL_CHOWN, key[given], OTHER, -1)))
		given++;
	print("given away: %d, then %s\n", given, errno_name(-result));
	SHOW(keyctl, KEYCTL_CHOWN, key[0], OTHER, -1);
	SHOW(keyctl, KEYCTL_CHOWN, key[0], 0, -1);
	SHOW(keyctl, KEYCTL_CHOWN, key[given], OTHER, -1);
	for (int i = 0; i < MANY; i++)
		MUST(keyctl, KEYCTL_CHOWN, key[i], 0, -1);

	long child = SYS(fork);
	if (!child) {
		SHOW(keyctl, KEYCTL_READ, key[1], NULL, 0);
		SHOW(keyctl, KEYCTL_READ, ring[0], NULL, 0);
		leave(0);
	}
	reap(child);
	int session = MUST(keyctl, KEYCTL_JOIN_SESSION_KEYRING, "one_by_name");
	MUST(keyctl, KEYCTL_SETPERM, session, 0x3f3f0000);
	SAY(SYS(keyctl, KEYCTL_JOIN_SESSION_KEYRING, "one_by_name") == session);
	int kept = MUST(add_key, "user", "kept", "x", 1, KEY_SPEC_SESSION_KEYRING);
	child = SYS(fork);
	if (!child) {
		SHOW(keyctl, KEYCTL_READ, kept, NULL, 0);
		MUST(keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
		leave(0);
	}
	reap(child);
	MUST(keyctl, KEYCTL_LINK, session, KEY_SPEC_PROCESS_KEYRING);
	MUST(keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	SHOW(keyctl, KEYCTL_READ, kept, NULL, 0);
	SAY(SYS(keyctl, KEYCTL_JOIN_SESSION_KEYRING, "one_by_name") == session);
	return 0;
}
