// All threads of a process stop and go on together; calls that were asleep go on, or end with EINTR where Linux does so.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready[2], pipes[2], out[2];

static void *reader(void *unused) {
    char c;
    write(ready[1], "r", 1);
    long n = read(pipes[0], &c, 1);
    dprintf(out[1], "read %ld %c\n", n, c);
    return 0;
}

static void *poller(void *unused) {
    struct epoll_event e;
    int fd = epoll_create1(0);
    write(ready[1], "r", 1);
    int n = epoll_wait(fd, &e, 1, -1);
    dprintf(out[1], "epoll_wait %d EINTR=%d\n", n, errno == EINTR);
    return 0;
}

static volatile int counter;

static void *runner(void *unused) {
    write(ready[1], "r", 1);
    for (;;) counter++;
}

int main(void) {
    char line[256] = {0};
    pipe(ready), pipe(pipes), pipe(out);
    pid_t child = fork();
    if (!child) {
        pthread_t a, b, c;
        pthread_create(&a, 0, runner, 0);
        pthread_create(&b, 0, poller, 0);
        pthread_create(&c, 0, reader, 0);
        pthread_join(b, 0);
        pthread_join(c, 0);
        _exit(5);
    }
    char c;
    for (int i = 0; i < 3; i++) read(ready[0], &c, 1);
    usleep(20000);
    int status;
    kill(child, SIGSTOP);
    waitpid(child, &status, WUNTRACED);
    printf("stopped %d\n", WIFSTOPPED(status));
    write(pipes[1], "x", 1);
    struct pollfd p = {out[0], POLLIN};
    printf("output while stopped: %d\n", poll(&p, 1, 50));
    kill(child, SIGCONT);
    waitpid(child, &status, 0);
    read(out[0], line, sizeof line - 1);
    // the two lines come in either order
    printf("exit %d, %d bytes\n", WEXITSTATUS(status), (int)__builtin_strlen(line));
    return 0;
}
