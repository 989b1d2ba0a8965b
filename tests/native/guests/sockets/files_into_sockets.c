/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sendfile(2) and splice(2) to and from sockets, and what sockets are as files. */
#include "net.h"

int main(void)
{
	char data[8192];
	int s[2], ends[2], file = MUST(open, "file", O_RDWR | O_CREAT, 0600);
	u64 at = 0;
	struct stat status;

	handle(SIGPIPE, SIG_IGN, 0);
	for (int i = 0; i < 3; i++)
		MUST(write, file, data, sizeof(data));
	MUST(socketpair, AF_UNIX, SOCK_STREAM, 0, s);
	MUST(pipe2, ends, O_NONBLOCK);
	SHOW(sendfile, s[0], file, &at, 5000);
	SAY(at);
	SHOW(recvfrom, s[1], data, 8192, MSG_WAITALL | MSG_DONTWAIT, NULL, NULL);
	MUST(lseek, file, 0, SEEK_SET);
	SHOW(splice, file, NULL, ends[1], NULL, 3000, 0);
	SHOW(splice, ends[0], NULL, s[0], NULL, 9000, 0);
	SHOW(recvfrom, s[1], data, 8192, MSG_WAITALL | MSG_DONTWAIT, NULL, NULL);
	SHOW(splice, s[1], NULL, ends[1], NULL, 100, 2);
	MUST(write, s[0], "hello", 5);
	SHOW(splice, s[1], NULL, ends[1], NULL, 100, 0);
	SHOW(read, ends[0], data, 100);
	SHOW(splice, s[1], NULL, s[0], NULL, 100, 0);
	SHOW(splice, s[1], &at, ends[1], NULL, 100, 0);
	SHOW(sendfile, s[0], s[1], NULL, 5);
	SHOW(tee, s[1], ends[1], 5, 0);
	SHOW(pwrite64, s[0], "a", 1, 0);
	SHOW(pread64, s[0], data, 1, 0);
	SHOW(lseek, s[0], 0, SEEK_CUR);
	SHOW(ftruncate, s[0], 0);
	SHOW(fsync, s[0]);
	SHOW(mmap, 0, PAGE, PROT_READ, MAP_SHARED, s[0], 0);
	SHOW(fchmod, s[0], 0600);
	MUST(fstat, s[0], &status);
	SAY(status.st_mode);
	SAY(status.st_size);
	SHOW(fcntl, s[0], F_GETFL);
	SHOW(fcntl, s[0], F_SETFL, O_NONBLOCK);
	SHOW(fcntl, s[0], F_GETFL);
	MUST(close, s[1]);
	SHOW(sendfile, s[0], file, &at, 5000);
	MUST(write, ends[1], "z", 1);
	SHOW(splice, ends[0], NULL, s[0], NULL, 100, 0);
	return 0;
}
