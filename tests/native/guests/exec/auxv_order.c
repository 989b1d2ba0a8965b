/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs: proc */
/* The auxiliary vector has the entries of Linux in their order, and /proc/self/auxv shows the same. */
#include "native.h"

int main(int argc, char **argv, char **envp)
{
	u64 shown[64] = { 0 };

	SAY(argc);
	while (*envp++)
		;
	u64 *aux = (u64 *)envp;
	int fd = MUST(open, "/proc/self/auxv", O_RDONLY);
	long n = MUST(read, fd, shown, sizeof(shown));
	SAY(n);
	SAY(memcmp(aux, shown, n));
	for (;; aux += 2) {
		switch (aux[0]) {
		case 4: case 6: case 8: case 11: case 12: case 13: case 14: case 17: case 23: case 27: case 28:
			print("%ld = %ld\n", aux[0], aux[1]);
			break;
		case 15: case 31:
			print("%ld = %s\n", aux[0], aux[0] == 15 ? (char *)aux[1] : (char *)aux[1] == NULL ? "" : "a name");
			break;
		default:
			print("%ld\n", aux[0]);
		}
		if (!aux[0])
			break;
	}
	(void)argv;
	return 0;
}
