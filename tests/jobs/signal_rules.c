// Signals: real-time queues and their order, siginfo of each source, who may queue what, and waiting for signals.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAY(call) do { errno = 0; long r = (call); printf("%s = %ld %d\n", #call, r < 0 ? -1 : r, r < 0 ? errno : 0); } while (0)

static void tell(int s, siginfo_t *i, void *u) {
    printf("  %d code %d pid %d uid %d value %d\n", s, i->si_code, i->si_pid == getpid() ? 1 : i->si_pid ? 2 : 0, i->si_uid, i->si_value.sival_int);
}
static void fault(int s, siginfo_t *i, void *u);
static char *page;

#include <setjmp.h>
static sigjmp_buf env;
static void fault(int s, siginfo_t *i, void *u) {
    printf("  %d code %d address %s\n", s, i->si_code, i->si_addr == page ? "page" : i->si_addr == 0 ? "0" : "other");
    siglongjmp(env, 1);
}
static long queue(pid_t pid, int s, int code, int value) {
    siginfo_t i = {0};
    i.si_signo = 99, i.si_code = code, i.si_pid = getpid(), i.si_uid = 7, i.si_value.sival_int = value;
    return syscall(SYS_rt_sigqueueinfo, pid, s, &i);
}
static void *blocked(void *p) { pause(); return 0; }

int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    sigset_t all, none, set;
    sigfillset(&all), sigemptyset(&none);
    struct sigaction sa = {.sa_sigaction = tell, .sa_flags = SA_SIGINFO};
    sigfillset(&sa.sa_mask);
    for (int s = 1; s < 65; s++) if (s != SIGKILL && s != SIGSTOP && s != 32 && s != 33) sigaction(s, &sa, 0);
    pid_t self = getpid();
    puts("order");
    sigprocmask(SIG_SETMASK, &all, 0);
    union sigval v;
    for (int i = 3; i; i--) { v.sival_int = i; sigqueue(self, 40, v); sigqueue(self, 36, v); sigqueue(self, SIGUSR1, v); }
    kill(self, SIGUSR2), raise(SIGUSR2), kill(self, SIGINT);
    sigprocmask(SIG_SETMASK, &none, 0);
    puts("timed wait");
    sigprocmask(SIG_SETMASK, &all, 0);
    siginfo_t i;
    struct timespec soon = {0, 1000000}, bad = {0, 2000000000};
    sigemptyset(&set), sigaddset(&set, SIGUSR1), sigaddset(&set, 35);
    SAY(sigtimedwait(&set, &i, &soon));
    SAY(syscall(SYS_rt_sigtimedwait, &set, &i, &bad, 8));
    SAY(syscall(SYS_rt_sigtimedwait, &set, &i, &soon, 4));
    v.sival_int = 5, sigqueue(self, 35, v), raise(SIGUSR1), raise(SIGUSR2);
    SAY(sigtimedwait(&set, &i, &soon));
    SAY(sigtimedwait(&set, &i, &soon));
    printf("%d %d %d\n", i.si_signo, i.si_code, i.si_value.sival_int);
    sigprocmask(SIG_SETMASK, &none, 0);
    puts("siginfo that programs give");
    SAY(queue(self, SIGUSR1, -1, 3));
    SAY(queue(self, SIGUSR1, 5, 3));
    SAY(queue(self, SIGUSR1, -6, 3));
    SAY(queue(self, 0, -1, 3));
    SAY(queue(self, 65, -1, 3));
    SAY(queue(99999999, SIGUSR1, -1, 3));
    SAY(queue(getppid(), 0, 0, 3));
    SAY(queue(getppid(), 0, -6, 3));
    SAY(syscall(SYS_rt_sigqueueinfo, self, SIGUSR1, 16));
    SAY(syscall(SYS_rt_tgsigqueueinfo, self, 0, SIGUSR1, &i));
    SAY(syscall(SYS_rt_tgsigqueueinfo, 0, self, SIGUSR1, &i));
    i.si_code = -1;
    SAY(syscall(SYS_rt_tgsigqueueinfo, self, self, SIGUSR1, &i));
    SAY(syscall(SYS_rt_tgsigqueueinfo, getppid(), self, SIGUSR1, &i));
    puts("threads");
    SAY(syscall(SYS_tkill, 0, 0));
    SAY(syscall(SYS_tkill, -5, 0));
    SAY(syscall(SYS_tkill, 99999999, 0));
    SAY(syscall(SYS_tkill, self, 65));
    SAY(syscall(SYS_tkill, self, SIGUSR2));
    SAY(syscall(SYS_tgkill, self, self, SIGUSR2));
    SAY(syscall(SYS_tgkill, getppid(), self, SIGUSR2));
    SAY(syscall(SYS_tgkill, self, 99999999, 0));
    SAY(kill(self, 65));
    SAY(kill(99999999, 0));
    SAY(kill(-99999999, 0));
    SAY(kill((-2147483647 - 1), 0));
    puts("limit");
    struct rlimit l = {3, 3};
    sigprocmask(SIG_SETMASK, &all, 0);
    pid_t child = fork();
    if (!child) {
        setresuid(4321, 4321, 4321);  // a user of whom nothing is queued
        setrlimit(RLIMIT_SIGPENDING, &l);
        child = getpid();
        for (int n = 0; n < 5; n++) { errno = 0; printf("  queue %d", sigqueue(child, 40, v)); printf(" %d\n", errno); }
        SAY(kill(child, SIGUSR1));
        SAY(kill(child, 41));
        sigpending(&set);
        printf("  pending %d %d %d\n", sigismember(&set, 40), sigismember(&set, 41), sigismember(&set, SIGUSR1));
        timer_t t;
        SAY(timer_create(CLOCK_MONOTONIC, 0, &t));
        _exit(0);
    }
    waitpid(child, 0, 0);
    sigprocmask(SIG_SETMASK, &none, 0);
    puts("faults");
    struct sigaction fa = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    for (int n = 0; n < 4; n++) sigaction((int[]){SIGSEGV, SIGBUS, SIGFPE, SIGILL}[n], &fa, 0);
    page = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!sigsetjmp(env, 1)) *(volatile char *)page = 1;
    if (!sigsetjmp(env, 1)) *(volatile char *)0 = 1;
    munmap(page, 4096);
    if (!sigsetjmp(env, 1)) *(volatile char *)page;
    if (!sigsetjmp(env, 1)) *(volatile char *)0x8000000000000000;
    if (!sigsetjmp(env, 1)) { volatile int z = 0; z = 1 / z; }
    if (!sigsetjmp(env, 1)) __asm__ volatile("ud2");
    char name[] = "/tmp/sigXXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    page = mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    if (!sigsetjmp(env, 1)) *(volatile char *)page;
    puts("timers and children");
    struct itimerval it = {{0}, {0, 1000}};
    setitimer(ITIMER_REAL, &it, 0), pause();
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 42, .sigev_value.sival_int = 17};
    timer_t t;
    timer_create(CLOCK_MONOTONIC, &ev, &t);
    struct itimerspec its = {{0}, {0, 1000000}};
    timer_settime(t, 0, &its, 0), pause();
    if (!fork()) _exit(3);
    pause();
    wait(0);
    if (!fork()) { raise(SIGKILL); }
    pause();
    wait(0);
    puts("stack");
    stack_t st, old;
    char *stack = malloc(65536);
    SAY((st = (stack_t){stack, 0, 100}, sigaltstack(&st, 0)));
    SAY((st = (stack_t){stack, 8, 65536}, sigaltstack(&st, 0)));
    SAY((st = (stack_t){stack, 0, 65536}, sigaltstack(&st, &old)));
    printf("  %d\n", old.ss_flags);
    SAY((st = (stack_t){stack, SS_DISABLE, 1}, sigaltstack(&st, &old)));
    printf("  %d %d\n", old.ss_flags, (int)old.ss_size);
    puts("fatal");
    struct rlimit no = {0, 0};
    setrlimit(RLIMIT_CORE, &no);
    for (int n = 0; n < 4; n++) {
        int s = (int[]){SIGABRT, SIGQUIT, SIGTERM, SIGSYS}[n], w;
        if (!(child = fork())) { signal(s, SIG_DFL); raise(s); }
        while (waitpid(child, &w, 0) < 0) {}
        printf("  %d core %d\n", WTERMSIG(w), !!WCOREDUMP(w));
    }
    SAY(sigaction(SIGKILL, &sa, 0));
    SAY(sigaction(SIGSTOP, 0, &fa));
    SAY(sigaction(65, 0, &fa));
    SAY(syscall(SYS_rt_sigaction, SIGUSR1, 0, 0, 4));
    return 0;
}
