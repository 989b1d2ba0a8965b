/*
 * N children count to 1000 each, on one counter in an mshare region that each of them maps for itself. Prints the sum.
 * An ordinary C program: it needs no header of unimmu's but unimmu.h, for its marks, and those do nothing elsewhere.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <unimmu.h>

struct mshare_create {
	unsigned long region_offset, size, offset;
	unsigned int prot, flags, fd;
};
#define MSHAREFS_CREATE_MAPPING _IOW('x', 0, struct mshare_create)
#define REGION "/sys/fs/mshare/counter"

static void *attach(size_t *size)
{
	int fd = open(REGION, O_RDWR);
	struct stat stat;
	void *window;

	if (fd < 0 || fstat(fd, &stat))
		exit(2);
	window = mmap(NULL, stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (window == MAP_FAILED)
		exit(3);
	close(fd);
	*size = stat.st_size;
	return window;
}

int main(int argc, char **argv)
{
	struct mshare_create object = { .size = 4096, .prot = PROT_READ | PROT_WRITE, .fd = -1,
					.flags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED };
	int children = argc > 1 ? atoi(argv[1]) : 2;
	FILE *info = fopen("/sys/fs/mshare/mshare_info", "r");
	unsigned long unit, *counter;
	size_t size;
	int fd;

	if (!info || fscanf(info, "%lu", &unit) != 1)
		return 1;
	fd = open(REGION, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || ftruncate(fd, unit) || ioctl(fd, MSHAREFS_CREATE_MAPPING, &object))
		return 1;
	counter = attach(&size);
	*counter = 0;
	for (int i = 0; i < children; i++) {
		if (fork() == 0) {
			counter = attach(&size);
			for (int n = 0; n < 1000; n++)
				__atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
			unimmu_mark(1);
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
	printf("%lu\n", *counter);
	unlink(REGION);
	return 0;
}
