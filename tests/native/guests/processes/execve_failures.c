/* SPDX-License-Identifier: GPL-2.0-or-later */
/* execve(2): names, arguments, formats. */
#include "native.h"

static char *args[2], *many[3];
static char text[200000];

int main(void)
{
	args[0] = "x";
	put("text", "no program\n");
	MUST(mkdir, "dir", 0755);
	MUST(symlink, "loop", "loop");
	SHOW(execve, "missing", args, NULL);
	SHOW(execve, "text", args, NULL);
	MUST(chmod, "text", 0755);
	SHOW(execve, "text", args, NULL);
	SHOW(execve, "text/x", args, NULL);
	SHOW(execve, "dir", args, NULL);
	SHOW(execve, "loop", args, NULL);
	SHOW(execve, "", args, NULL);
	SHOW(execve, NOWHERE, args, NULL);
	SHOW(execve, "text", NOWHERE, NULL);
	SHOW(execve, "missing", NOWHERE, NULL);
	SHOW(execve, "text", args, NOWHERE);
	memset(text, 'x', sizeof(text) - 1);
	many[0] = "x", many[1] = text;
	SHOW(execve, "text", many, NULL);
	put("script", "#!missing\n");
	MUST(chmod, "script", 0755);
	SHOW(execve, "script", args, NULL);
	put("script", "#!\n");
	SHOW(execve, "script", args, NULL);
	put("script", "#!dir\n");
	SHOW(execve, "script", args, NULL);
	put("script", "#! script\n");
	SHOW(execve, "script", args, NULL);
	put("empty", "");
	MUST(chmod, "empty", 0755);
	SHOW(execve, "empty", args, NULL);
	put("elf", "\177ELF and so on, but not long enough to be one at all, not even for its header........");
	MUST(chmod, "elf", 0755);
	SHOW(execve, "elf", args, NULL);
	return 0;
}
