// prctl: every option that is known, with its errors.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAY(...) do { errno = 0; long r = prctl(__VA_ARGS__); printf("%s = %ld %d\n", #__VA_ARGS__, r < 0 ? -1 : r, r < 0 ? errno : 0); } while (0)

static void drop(void) {  // CAP_SYS_RESOURCE, which hosts may lack
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    syscall(SYS_capget, &h, d);
    d[0].effective &= ~(1 << 24);
    syscall(SYS_capset, &h, d);
}

int main(void) {
    drop();
    int n = 0;
    long word = 0;
    char name[17] = {0};
    SAY(PR_SET_NAME, "a name that is too long", 0, 0, 0);
    SAY(PR_GET_NAME, name, 0, 0, 0);
    puts(name);
    SAY(PR_SET_NAME, 1, 0, 0, 0);
    SAY(PR_SET_PDEATHSIG, 65, 0, 0, 0);
    SAY(PR_SET_PDEATHSIG, 64, 0, 0, 0);
    SAY(PR_GET_PDEATHSIG, &n, 0, 0, 0);
    printf("%d\n", n);
    SAY(PR_GET_PDEATHSIG, 1, 0, 0, 0);
    SAY(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    SAY(PR_GET_DUMPABLE, 0, 0, 0, 0);
    SAY(PR_SET_DUMPABLE, 2, 0, 0, 0);
    SAY(PR_SET_DUMPABLE, 0, 0, 0, 0);
    SAY(PR_GET_DUMPABLE, 0, 0, 0, 0);
    SAY(PR_SET_DUMPABLE, 1, 0, 0, 0);
    SAY(PR_SET_KEEPCAPS, 2, 0, 0, 0);
    SAY(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    SAY(PR_GET_KEEPCAPS, 0, 0, 0, 0);
    SAY(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    SAY(PR_GET_TIMING, 0, 0, 0, 0);
    SAY(PR_SET_TIMING, 0, 0, 0, 0);
    SAY(PR_SET_TIMING, 1, 0, 0, 0);
    SAY(PR_GET_UNALIGN, &n, 0, 0, 0);
    SAY(PR_GET_FPEXC, &n, 0, 0, 0);
    SAY(PR_GET_ENDIAN, &n, 0, 0, 0);
    SAY(PR_GET_TSC, &n, 0, 0, 0);
    printf("%d\n", n);
    SAY(PR_SET_TSC, 1, 0, 0, 0);
    SAY(PR_SET_TSC, 3, 0, 0, 0);
    SAY(PR_GET_SECUREBITS, 0, 0, 0, 0);
    SAY(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    SAY(PR_SET_TIMERSLACK, 12345, 0, 0, 0);
    SAY(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    fflush(stdout);
    if (!fork()) { SAY(PR_GET_TIMERSLACK, 0, 0, 0, 0); prctl(PR_SET_TIMERSLACK, 5); SAY(PR_SET_TIMERSLACK, 0, 0, 0, 0); SAY(PR_GET_TIMERSLACK, 0, 0, 0, 0); fflush(stdout); _exit(0); }
    wait(0);
    SAY(PR_SET_TIMERSLACK, 0, 0, 0, 0);
    SAY(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    SAY(PR_TASK_PERF_EVENTS_DISABLE, 0, 0, 0, 0);
    SAY(PR_TASK_PERF_EVENTS_ENABLE, 0, 0, 0, 0);
    SAY(PR_MCE_KILL_GET, 0, 0, 0, 0);
    SAY(PR_MCE_KILL_GET, 1, 0, 0, 0);
    SAY(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
    SAY(PR_MCE_KILL_GET, 0, 0, 0, 0);
    SAY(PR_MCE_KILL, PR_MCE_KILL_SET, 3, 0, 0);
    SAY(PR_MCE_KILL, PR_MCE_KILL_SET, 0, 1, 0);
    SAY(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0);
    SAY(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 1, 0, 0);
    SAY(PR_MCE_KILL, 7, 0, 0, 0);
    SAY(PR_MCE_KILL_GET, 0, 0, 0, 0);
    SAY(PR_SET_CHILD_SUBREAPER, 5, 0, 0, 0);
    SAY(PR_GET_CHILD_SUBREAPER, &n, 0, 0, 0);
    printf("%d\n", n);
    SAY(PR_GET_CHILD_SUBREAPER, 1, 0, 0, 0);
    SAY(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    SAY(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0);
    SAY(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
    SAY(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0);
    SAY(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    SAY(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    syscall(SYS_set_tid_address, &n);
    SAY(PR_GET_TID_ADDRESS, &word, 0, 0, 0);
    printf("%d\n", word == (long)&n);
    SAY(PR_GET_TID_ADDRESS, 1, 0, 0, 0);
    SAY(PR_GET_THP_DISABLE, 0, 0, 0, 0);
    SAY(PR_GET_THP_DISABLE, 1, 0, 0, 0);
    SAY(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    SAY(PR_GET_THP_DISABLE, 0, 0, 0, 0);
    SAY(PR_SET_THP_DISABLE, 1, 0, 1, 0);
    SAY(PR_SET_THP_DISABLE, 0, 0, 0, 0);
    SAY(PR_SET_MM, PR_SET_MM_ARG_START, 1, 0, 0);
    SAY(PR_SET_MM, PR_SET_MM_ARG_START, name, 0, 0);
    SAY(PR_SET_MM, PR_SET_MM_ARG_START, 0x10000000, 0, 0);
    SAY(PR_SET_MM, PR_SET_MM_ARG_START, name, 1, 0);
    SAY(PR_SET_MM, 99, name, 0, 0);
    SAY(PR_SET_IO_FLUSHER, 2, 0, 0, 0);
    SAY(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    SAY(PR_GET_IO_FLUSHER, 0, 0, 0, 0);
    SAY(PR_GET_IO_FLUSHER, 1, 0, 0, 0);
    SAY(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
    SAY(PR_GET_SECCOMP, 0, 0, 0, 0);
    SAY(PR_SET_SECCOMP, 7, 0, 0, 0);
    SAY(PR_SVE_GET_VL, 0, 0, 0, 0);
    SAY(PR_GET_FP_MODE, 0, 0, 0, 0);
    SAY(12345, 0, 0, 0, 0);
    SAY(0, 0, 0, 0, 0);
    SAY(-1, 0, 0, 0, 0);
    return 0;
}
