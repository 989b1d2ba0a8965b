// setpgid, setsid, getpgid, getsid with each of their errors.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAY(call) do { errno = 0; int r = (call) < 0 ? -errno : 0; printf("%s = %d\n", #call, r); } while (0)

static int go[2];

int main(int argc, char **argv) {
    if (argc > 1) { write(atoi(argv[1]), "x", 1); pause(); }
    setvbuf(stdout, 0, _IONBF, 0);
    pid_t self = getpid(), none = 999999;
    pipe(go);
    pid_t worker = fork();
    if (!worker) {
        SAY(setsid());
        SAY(setsid());
        SAY(setpgid(0, 0));
        printf("%d %d %d\n", getpid() == getsid(0), getpid() == getpgid(0), getpgrp() == getpid());
        pid_t child = fork();
        if (!child) { pause(); }
        SAY(setpgid(child, child));
        printf("%d %d\n", getpgid(child) == child, getsid(child) == getpid());
        SAY(setpgid(child, 0));
        SAY(setpgid(child, getpid()));
        SAY(setpgid(child, none));
        SAY(setpgid(child, -1));
        SAY(setpgid(none, 0));
        SAY(setpgid(getppid(), 0));
        SAY(getpgid(none));
        SAY(getsid(none));
        SAY(getpgid(-1));
        SAY(kill(-child, 0));
        SAY(kill(-none, 0));
        pid_t other = fork();
        if (!other) { setsid(); write(go[1], "x", 1); pause(); }
        char c;
        read(go[0], &c, 1);
        SAY(setpgid(other, child));
        SAY(setpgid(child, other));
        kill(other, SIGKILL);
        pid_t executed = fork();
        if (!executed) { char n[9]; sprintf(n, "%d", go[1]); execl("/proc/self/exe", argv[0], n, (char *)0); _exit(1); }
        read(go[0], &c, 1);
        SAY(setpgid(executed, executed));
        kill(executed, SIGKILL);
        kill(child, SIGKILL);
        while (wait(0) > 0) {}
        SAY(getpgid(child));
        _exit(0);
    }
    waitpid(worker, 0, 0);
    // a group of the number of the caller forbids setsid
    pid_t leader = fork();
    if (!leader) {
        setpgid(0, 0);
        pid_t member = fork();
        if (!member) { pause(); }
        setpgid(0, getppid() == self ? getpgid(self) : 0);
        SAY(setsid());
        kill(member, SIGKILL);
        wait(0);
        SAY(setsid());
        _exit(0);
    }
    waitpid(leader, 0, 0);
    return 0;
}
