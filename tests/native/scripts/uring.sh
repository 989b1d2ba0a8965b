# gcc: builds a program with liburing, where that is, which serves clients with a ring
cat > echo.c <<'C'
#include <liburing.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
enum { ACCEPT, RECEIVE, SEND };
static char buffers[64][64];
static struct io_uring ring;
static struct io_uring_sqe *next(int what, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	sqe->user_data = what | fd << 8;
	return sqe;
}
#define SUBMIT(what, fd, prepare, ...) do { struct io_uring_sqe *sqe = io_uring_get_sqe(&ring); \
	prepare(sqe, ##__VA_ARGS__); sqe->user_data = what | (fd) << 8; } while (0)
int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0), closed = 0, bytes = 0, status;
	bind(listener, (void *)&a, size);
	getsockname(listener, (void *)&a, &size);
	listen(listener, 16);
	pid_t child = fork();
	if (!child) {
		for (int n = 0; n < 10; n++) {
			char text[64], back[64] = { 0 };
			int fd = socket(AF_INET, SOCK_STREAM, 0);
			connect(fd, (void *)&a, size);
			sprintf(text, "message %d", n);
			for (int k = 0; k < 3; k++) {
				write(fd, text, strlen(text));
				if (read(fd, back, 63) != (ssize_t)strlen(text) || strcmp(text, back))
					return 1;
			}
			close(fd);
		}
		return 0;
	}
	if (io_uring_queue_init(32, &ring, 0))
		return 2;
	SUBMIT(ACCEPT, 0, io_uring_prep_accept, listener, NULL, NULL, 0);
	while (closed < 10) {
		struct io_uring_cqe *cqe;
		unsigned head, seen = 0;
		io_uring_submit_and_wait(&ring, 1);
		io_uring_for_each_cqe(&ring, head, cqe) {
			int what = cqe->user_data & 255, fd = cqe->user_data >> 8;
			seen++;
			if (what == ACCEPT) {
				fd = cqe->res;
				SUBMIT(ACCEPT, 0, io_uring_prep_accept, listener, NULL, NULL, 0);
			}
			if (what == RECEIVE && cqe->res > 0) {
				bytes += cqe->res;
				SUBMIT(SEND, fd, io_uring_prep_send, fd, buffers[fd], cqe->res, 0);
			} else if (what == RECEIVE) {
				close(fd);
				closed++;
			} else {
				SUBMIT(RECEIVE, fd, io_uring_prep_recv, fd, buffers[fd], 64, 0);
			}
		}
		io_uring_cq_advance(&ring, seen);
	}
	waitpid(child, &status, 0);
	printf("%d bytes, %d\n", bytes, WEXITSTATUS(status));
	return 0;
}
C
sed -i '/^static struct io_uring_sqe \*next/,/^}/d' echo.c
if gcc -w -o echo echo.c -luring 2> /dev/null; then ./echo; else echo no liburing; fi
echo $?
