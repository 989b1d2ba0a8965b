// A process group that nobody is left to continue gets SIGHUP and SIGCONT, and SIGTSTP does not stop it.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int out[2];

static void hup(int s) { dprintf(out[1], "SIGHUP "); }
static void cont(int s) { dprintf(out[1], "SIGCONT "); }

int main(void) {
    pipe(out);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t leader = fork();
    if (!leader) {
        setsid();
        pid_t job = fork();
        if (!job) {
            setpgid(0, 0);
            signal(SIGHUP, hup);
            signal(SIGCONT, cont);
            raise(SIGSTOP);
            raise(SIGTSTP);  // nobody could continue it now
            dprintf(out[1], "goes on");
            _exit(0);
        }
        setpgid(job, job);
        int status;
        waitpid(job, &status, WUNTRACED);
        dprintf(out[1], "stopped by %d, ", WSTOPSIG(status));
        _exit(0);
    }
    char text[256] = {0};
    int status;
    while (wait(&status) > 0) {}
    read(out[0], text, sizeof text - 1);
    puts(text);
    return 0;
}
