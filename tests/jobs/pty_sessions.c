// A controlling terminal: who has it, who may read and write, what a key does, and what a hangup does.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define SAY(call) do { errno = 0; long r = (call); printf("%s = %ld %d\n", #call, r < 0 ? -1 : r, r < 0 ? errno : 0); } while (0)

static volatile int got[65];
static void note(int s) { got[s]++; }

static void field(const char *what, int a, int b) {
    char line[512];
    FILE *f = fopen("/proc/self/stat", "r");
    fgets(line, sizeof line, f);
    fclose(f);
    int pgrp, session, tty, tpgid;
    sscanf(strrchr(line, ')') + 2, "%*c %*d %d %d %d %d", &pgrp, &session, &tty, &tpgid);
    printf("%s: tty %d, foreground %d\n", what, tty != 0, tpgid == -1 ? -1 : tpgid == getpgrp());
}

static void how(const char *what, pid_t child) {
    int status;
    while (waitpid(child, &status, WUNTRACED) < 0) {}
    if (WIFSTOPPED(status)) printf("%s: stopped by %d\n", what, WSTOPSIG(status));
    else if (WIFSIGNALED(status)) printf("%s: killed by %d\n", what, WTERMSIG(status));
    else printf("%s: exit %d\n", what, WEXITSTATUS(status));
}

int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    int m = posix_openpt(O_RDWR | O_NOCTTY), lock = -1, number;
    char *name = ptsname(m), b[100];
    SAY(open(name, O_RDWR | O_NOCTTY));
    SAY(ioctl(m, TIOCGPTLCK, &lock));
    printf("locked %d\n", lock);
    SAY(grantpt(m));
    SAY(unlockpt(m));
    int s = open(name, O_RDWR | O_NOCTTY);
    SAY(isatty(m) + isatty(s));
    printf("same name %d\n", !strcmp(ttyname(s), name));
    SAY(tcgetpgrp(s));
    SAY(tcgetpgrp(m));
    SAY(tcgetsid(s));
    SAY(tcsetpgrp(s, getpgrp()));
    SAY(ioctl(s, TIOCSCTTY, 0));
    SAY(ioctl(s, TIOCNOTTY));
    SAY(ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY) > 0);
    SAY(ioctl(s, TIOCGPTN, &number));
    SAY(ioctl(s, 0x5499, 0));
    SAY(ioctl(m, 0x5499, 0));
    SAY(lseek(s, 0, SEEK_CUR));
    pid_t leader = fork();
    if (!leader) {
        setsid();
        SAY(open("/dev/tty", O_RDWR));
        field("no terminal", 0, 0);
        int t = open(name, O_RDWR);
        field("opened", 0, 0);
        SAY(open("/dev/tty", O_RDWR) >= 0);
        SAY(ioctl(t, TIOCSCTTY, 0));
        SAY(tcgetsid(t) == getpid());
        SAY(tcgetpgrp(t) == getpid());
        SAY(tcsetpgrp(t, 999999));
        SAY(tcsetpgrp(t, getppid()));
        SAY(tcsetpgrp(t, -1));
        for (int i = 0; i < 2; i++) {
            pid_t job = fork();
            if (!job) {
                setpgid(0, 0);
                if (i == 0) { read(t, b, 1); _exit(1); }
                struct termios modes;
                tcgetattr(t, &modes);
                tcsetattr(t, TCSANOW, &modes);
                _exit(2);
            }
            how(i ? "tcsetattr of the background" : "read of the background", job);
            kill(job, SIGKILL);
            how("then", job);
        }
        pid_t job = fork();
        if (!job) { setpgid(0, 0); SAY(write(t, "bg", 2)); signal(SIGTTIN, SIG_IGN); SAY(read(t, b, 1)); signal(SIGTTOU, SIG_IGN); SAY(tcflush(t, TCIFLUSH)); _exit(3); }
        how("ignoring", job);
        struct termios modes;
        tcgetattr(t, &modes);
        modes.c_lflag |= TOSTOP;
        tcsetattr(t, TCSANOW, &modes);
        job = fork();
        if (!job) { setpgid(0, 0); write(t, "bg", 2); _exit(4); }
        how("TOSTOP", job);
        kill(job, SIGKILL);
        how("then", job);
        signal(SIGINT, note), signal(SIGWINCH, note), signal(SIGTTOU, SIG_IGN);
        write(m, "\003", 1);
        usleep(20000);
        printf("SIGINT %d\n", got[SIGINT]);
        struct winsize w = {30, 90};
        ioctl(m, TIOCSWINSZ, &w);
        usleep(20000);
        printf("SIGWINCH %d\n", got[SIGWINCH]);
        ioctl(t, TIOCSWINSZ, &w);
        usleep(20000);
        printf("SIGWINCH %d\n", got[SIGWINCH]);
        job = fork();
        if (!job) { setpgid(0, 0); tcsetpgrp(t, getpid()); field("foreground", 0, 0); signal(SIGINT, SIG_DFL); pause(); }
        usleep(20000);
        write(m, "\032", 1);
        how("^Z", job);
        kill(job, SIGCONT);
        usleep(20000);
        write(m, "\003", 1);
        how("^C", job);
        field("after", 0, 0);
        tcsetpgrp(t, getpid());
        field("back", 0, 0);
        job = fork();
        if (!job) { setpgid(0, 0); signal(SIGHUP, note); signal(SIGCONT, note); tcsetpgrp(t, getpid()); while (!got[SIGHUP]) usleep(1000); usleep(20000);
            printf("SIGHUP %d\n", got[SIGHUP]); field("hung up", 0, 0); SAY(open("/dev/tty", O_RDWR)); close(m); exit(0); }
        usleep(20000);
        _exit(0);
    }
    how("leader", leader);
    usleep(50000);
    leader = fork();
    if (!leader) {
        setsid();
        close(m);
        int t = open(name, O_RDWR);
        signal(SIGHUP, note), signal(SIGCONT, note);
        write(s, "go", 2);
        while (!got[SIGHUP]) usleep(1000);
        usleep(1000);
        printf("SIGHUP %d SIGCONT %d\n", got[SIGHUP], got[SIGCONT]);
        SAY(read(t, b, 1));
        SAY(write(t, b, 1));
        SAY(ioctl(t, TIOCGWINSZ, b));
        SAY(ioctl(t, TIOCSPGRP, b));
        struct pollfd p = {t, POLLIN | POLLOUT};
        SAY(poll(&p, 1, 0));
        printf("%x\n", p.revents);
        SAY(open("/dev/tty", O_RDWR));
        SAY(open(name, O_RDWR));
        _exit(0);
    }
    usleep(30000);
    fcntl(m, F_SETFL, O_NONBLOCK);
    while (read(m, b, 100) > 0) {}
    close(s);
    close(m);
    how("leader", leader);
    // the last descriptor of the terminal is closed
    m = posix_openpt(O_RDWR | O_NOCTTY);
    unlockpt(m);
    fcntl(m, F_SETFL, O_NONBLOCK);
    struct pollfd p = {m, POLLIN | POLLOUT};
    SAY(read(m, b, 10));
    SAY(poll(&p, 1, 0));
    printf("%x\n", p.revents);
    s = open(ptsname(m), O_RDWR | O_NOCTTY);
    write(s, "last", 4);
    close(s);
    usleep(20000);
    SAY(poll(&p, 1, 0));
    printf("%x\n", p.revents);
    SAY(read(m, b, 10));
    SAY(read(m, b, 10));
    s = open(ptsname(m), O_RDWR | O_NOCTTY);
    SAY(read(m, b, 10));
    int on = 1;
    SAY(ioctl(m, TIOCPKT, &on));
    write(s, "data", 4);
    usleep(20000);
    long n = read(m, b, 10);
    printf("packet %ld: %d %.*s\n", n, b[0], (int)n - 1, b + 1);
    write(m, "\023", 1); usleep(20000);
    n = read(m, b, 10);
    printf("packet %ld: %d\n", n, b[0]);
    write(m, "\021", 1); usleep(20000);
    n = read(m, b, 10);
    printf("packet %ld: %d\n", n, b[0]);
    tcflush(s, TCIOFLUSH);
    p.revents = 0; p.events = POLLPRI | POLLIN;
    SAY(poll(&p, 1, 0));
    printf("%x\n", p.revents);
    n = read(m, b, 10);
    printf("packet %ld: %d\n", n, b[0]);
    close(s);
    usleep(20000);
    SAY(write(m, "x", 1));
    s = open(ptsname(m), O_RDWR | O_NOCTTY);
    SAY(ioctl(s, TIOCEXCL));
    SAY(open(ptsname(m), O_RDWR | O_NOCTTY) >= 0);
    return 0;
}
