/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Root may map page 0, by mmap(2), mremap(2) and shmat(2); others may not. */
// needs: root
#include "native.h"
#include <sys/ipc.h>
#include <sys/shm.h>

int main(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, id = MUST(shmget, IPC_PRIVATE, PAGE, 0666);
	long page = MUST(mmap, 0, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);

	SHOW(mmap, 0, PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0);
	SHOW(pipe2, 4, 0);
	SHOW(munmap, 0, PAGE);
	SHOW(mremap, page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, 0);
	SHOW(munmap, 0, PAGE);
	SHOW(shmat, id, 123, SHM_RND);
	SHOW(shmat, id, 123, SHM_RND | SHM_REMAP);
	SHOW(shmdt, 0);
	become(1000);
	SHOW(mmap, 0, PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0);
	SHOW(shmat, id, 123, SHM_RND);
	return 0;
}
