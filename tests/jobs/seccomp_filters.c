// seccomp: strict mode, filters in classic BPF, and what becomes of who breaks them.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAY(call) do { errno = 0; long r = (call); printf("%s = %ld %d\n", #call, r < 0 ? -1 : r, r < 0 ? errno : 0); fflush(stdout); } while (0)
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define IF(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)

static long filter(struct sock_filter *f, int n, int flags) {
    struct sock_fprog p = {n, f};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}
#define FILTER(flags, ...) ({ struct sock_filter f[] = {__VA_ARGS__}; filter(f, sizeof f / sizeof *f, flags); })

static void how(const char *what, pid_t child) {
    int s;
    waitpid(child, &s, 0);
    printf("%s: %s %d\n", what, WIFSIGNALED(s) ? "signal" : "exit", WIFSIGNALED(s) ? WTERMSIG(s) : WEXITSTATUS(s));
}
#define CHILD fflush(stdout); child = fork(); if (!child)

static void trapped(int s, siginfo_t *i, void *u) {
    printf("SIGSYS code %d errno %d syscall %d arch %x\n", i->si_code, i->si_errno, i->si_syscall, i->si_arch);
    fflush(stdout);
}
static void *breaks(void *p) { syscall(SYS_getppid); return 0; }
static void *asks(void *p) { sleep(1); SAY(syscall(SYS_getppid)); return 0; }

int main(void) {
    pid_t child;
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    unsigned action = SECCOMP_RET_TRAP, unknown = 0x12340000;
    SAY(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
    SAY(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &unknown));
    SAY(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 1, &action));
    struct seccomp_notif_sizes sizes;
    SAY(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes));
    printf("%d %d %d\n", sizes.seccomp_notif, sizes.seccomp_notif_resp, sizes.seccomp_data);
    SAY(syscall(SYS_seccomp, 9, 0, 0));
    SAY(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, 0));
    SAY(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, 0));
    SAY(FILTER(0x4000, RETURN(SECCOMP_RET_ALLOW)));
    SAY(FILTER(0, LOAD(nr)));
    SAY(FILTER(0, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), RETURN(SECCOMP_RET_ALLOW)));
    SAY(FILTER(0, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), RETURN(SECCOMP_RET_ALLOW)));
    SAY(FILTER(0, BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), RETURN(SECCOMP_RET_ALLOW)));
    SAY(FILTER(0, BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), RETURN(SECCOMP_RET_ALLOW)));
    SAY(FILTER(0, BPF_STMT(BPF_ST, 16), RETURN(SECCOMP_RET_ALLOW)));
    SAY(FILTER(0, BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0), RETURN(SECCOMP_RET_ALLOW)));
    SAY(FILTER(0, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 5, 0, 7), RETURN(SECCOMP_RET_ALLOW)));
    CHILD { setuid(1000); SAY(FILTER(0, RETURN(SECCOMP_RET_ALLOW))); prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); SAY(FILTER(0, RETURN(SECCOMP_RET_ALLOW))); SAY(prctl(PR_GET_SECCOMP)); SAY(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)); _exit(0); }
    how("user", child);
    CHILD { prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT); write(1, "strict\n", 7); syscall(SYS_exit, 3); }
    how("strict exit", child);
    CHILD { prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT); getppid(); }
    how("strict getppid", child);
    CHILD { FILTER(0, LOAD(nr), IF(SYS_getppid), RETURN(SECCOMP_RET_ERRNO | 42), RETURN(SECCOMP_RET_ALLOW)); SAY(syscall(SYS_getppid)); SAY(syscall(SYS_getpid) > 0);
        FILTER(0, LOAD(nr), IF(SYS_getppid), RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW)); syscall(SYS_getppid); _exit(0); }
    how("errno, then kill", child);
    CHILD { FILTER(0, LOAD(nr), IF(SYS_getppid), RETURN(SECCOMP_RET_ERRNO | 0xffff), RETURN(SECCOMP_RET_ALLOW)); printf("%ld\n", syscall(SYS_getppid)); SAY(syscall(SYS_getppid)); _exit(0); }
    how("largest errno", child);
    CHILD { struct sigaction sa = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO}; sigaction(SIGSYS, &sa, 0); FILTER(0, LOAD(nr), IF(SYS_getppid), RETURN(SECCOMP_RET_TRAP | 9), RETURN(SECCOMP_RET_ALLOW)); printf("%ld\n", syscall(SYS_getppid)); fflush(stdout); signal(SIGSYS, SIG_IGN); syscall(SYS_getppid); _exit(0); }
    how("trap", child);
    CHILD { FILTER(0, LOAD(nr), IF(SYS_getppid), RETURN(SECCOMP_RET_TRACE), RETURN(SECCOMP_RET_ALLOW)); SAY(syscall(SYS_getppid)); _exit(0); }
    how("trace", child);
    CHILD { FILTER(0, LOAD(nr), IF(SYS_getppid), RETURN(SECCOMP_RET_KILL_THREAD), RETURN(SECCOMP_RET_ALLOW)); pthread_t t; pthread_create(&t, 0, breaks, 0); pthread_join(t, 0); _exit(6); }
    how("one thread", child);
    CHILD { FILTER(0, LOAD(args[0]), IF(7), RETURN(SECCOMP_RET_ERRNO | 1), LOAD(arch), IF(AUDIT_ARCH_X86_64), RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_KILL)); SAY(close(7)); SAY(close(8)); _exit(0); }
    how("arguments", child);
    CHILD { pthread_t t; pthread_create(&t, 0, asks, 0); SAY(FILTER(SECCOMP_FILTER_FLAG_TSYNC, LOAD(nr), IF(SYS_getppid), RETURN(SECCOMP_RET_ERRNO | 5), RETURN(SECCOMP_RET_ALLOW))); pthread_join(t, 0); _exit(0); }
    how("TSYNC", child);
    CHILD { FILTER(0, LOAD(nr), BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 5), BPF_STMT(BPF_MISC | BPF_TAX, 0), BPF_STMT(BPF_ST, 3), BPF_STMT(BPF_LD | BPF_IMM, SYS_getppid + 5), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1), RETURN(SECCOMP_RET_ERRNO | 77), RETURN(SECCOMP_RET_ALLOW)); SAY(syscall(SYS_getppid)); _exit(0); }
    how("arithmetic", child);
    return 0;
}
