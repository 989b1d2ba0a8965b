/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sendfile(2) and splice(2) from devices: those of endless bytes give some, and stand where they stood. */
#include "native.h"

static void from(const char *path)
{
	long offset = 1;
	int fds[2];
	put("to", "");
	int in = MUST(open, path, O_RDONLY), out = MUST(open, "to", O_WRONLY);
	MUST(pipe2, fds, O_NONBLOCK);
	SHOW(sendfile, out, in, NULL, 3);
	SHOW(sendfile, out, in, &offset, 3);
	SAY(offset);
	SHOW(splice, in, NULL, fds[1], NULL, 3, 0);
	SHOW(lseek, in, 0, SEEK_CUR);
	SHOW(lseek, out, 0, SEEK_CUR);
}

int main(void)
{
	from("/dev/zero");
	from("/dev/full");
	from("/dev/urandom");
	from("/dev/null");
	return 0;
}
