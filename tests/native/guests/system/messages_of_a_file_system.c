/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What fsopen's descriptor keeps of its messages, and an option that is given many times. */
// needs: root
#include "native.h"
#include <linux/mount.h>

int main(void)
{
	char name[] = "wrong0", text[100];
	long got, fs = MUST(fsopen, "tmpfs", 0);

	for (int i = 0; i < 26; i++) {
		name[5] = 'a' + i;
		if (i < 2)
			SHOW(fsconfig, fs, FSCONFIG_SET_STRING, name, "x", 0);
		else
			SYS(fsconfig, fs, FSCONFIG_SET_STRING, name, "x", 0);
	}
	for (int i = 0; (got = SYS(read, fs, text, sizeof(text) - 1)) > 0; i++) {
		text[got] = 0;
		print("%d: %s", i, text);
	}
	show("read", got);
	for (int i = 0; i < 400; i++)
		MUST(fsconfig, fs, FSCONFIG_SET_STRING, "size", i % 2 ? "1m" : "2m", 0);
	SHOW(fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	SHOW(read, fs, text, sizeof(text));
	return 0;
}
