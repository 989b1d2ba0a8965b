// Capabilities decide, and follow from changes of user ids: what a process may do after it gave one up.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/reboot.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAY(call) do { errno = 0; long r = (call); printf("  %s = %ld %d\n", #call, r < 0 ? -1 : r, r < 0 ? errno : 0); } while (0)

static void caps(const char *when) {
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    syscall(SYS_capget, &h, d);
    printf("%s: eff %x %x prm %x %x inh %x %x ids", when, d[0].effective, d[1].effective, d[0].permitted, d[1].permitted, d[0].inheritable, d[1].inheritable);
    uid_t r, e, s;
    getresuid(&r, &e, &s);
    printf(" %d %d %d fs %d", r, e, s, setfsuid(-1));
    printf(" dump %d keep %d bits %x\n", prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS), prctl(PR_GET_SECUREBITS));
}

static long set(unsigned long effective, unsigned long permitted, unsigned long inheritable) {
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{effective, permitted, inheritable}, {effective >> 32, permitted >> 32, inheritable >> 32}};
    return syscall(SYS_capset, &h, d);
}

// without CAP_SYS_RESOURCE, which hosts may lack
#define ALL (0x1ffffffffffUL & ~(1UL << 24))
#define BIT(c) (1UL << (c))

static void begin(const char *what) { printf("%s\n", what); }
#define CHILD(what) fflush(stdout); if (!fork() && (begin(what), 1))
#define DONE fflush(stdout); _exit(0)
#define END while (wait(0) > 0) {}

int main(void) {
    setvbuf(stdout, 0, _IOFBF, 1 << 16);
    char dir[] = "/tmp/capsXXXXXX";
    chmod(mkdtemp(dir), 0755);
    chdir(dir);
    close(open("roots", O_CREAT | O_WRONLY, 0600));
    close(open("users", O_CREAT | O_WRONLY, 0644));
    chown("users", 1000, 1000);
    prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE);
    set(ALL, ALL, 0);
    CHILD("setuid 1000") { SAY(setuid(1000)); caps("then"); SAY(setuid(0)); SAY(setgid(5)); gid_t g = 7; SAY(setgroups(1, &g)); SAY(open("roots", O_RDONLY)); SAY(chmod("users", 0600)); SAY(chown("users", 0, -1)); SAY(chroot(".")); SAY(sethostname("x", 1)); SAY(setdomainname("x", 1)); SAY(nice(-1)); SAY(kill(getppid(), 0)); SAY(mknod("dev", S_IFCHR | 0600, 0x103)); SAY(mount("none", ".", "tmpfs", 0, 0)); SAY(syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_CAD_OFF, 0)); SAY(acct(0)); SAY(vhangup()); SAY(prctl(PR_CAPBSET_DROP, 3)); SAY(set(0, 0, 1)); SAY(set(1, 0, 0)); SAY(set(0, 1, 0)); struct rlimit l = {1 << 20, 1 << 20}; SAY(setrlimit(RLIMIT_NOFILE, &l)); SAY(setpriority(PRIO_PROCESS, 0, -5)); DONE; } END
    CHILD("seteuid 1000 and back") { SAY(seteuid(1000)); caps("as 1000"); SAY(open("roots", O_RDONLY)); SAY(seteuid(0)); caps("back"); DONE; } END
    CHILD("keepcaps") { SAY(prctl(PR_SET_KEEPCAPS, 1)); SAY(setuid(1000)); caps("kept"); SAY(open("roots", O_RDONLY)); SAY(set(BIT(CAP_DAC_OVERRIDE), ALL, 0)); SAY(open("roots", O_RDWR) >= 0); caps("raised"); SAY(setuid(2000)); SAY(set(BIT(CAP_SETUID), BIT(CAP_SETUID), 0)); SAY(setuid(2000)); caps("with SETUID"); DONE; } END
    CHILD("setfsuid") { SAY(setfsuid(1000)); caps("then"); SAY(open("roots", O_RDONLY)); SAY(open("users", O_RDWR) >= 0); int fd = open("made", O_CREAT | O_RDWR, 0600); printf("  made %d\n", fd >= 0 ? 1 : errno); SAY(setfsuid(0)); caps("back"); DONE; } END
    CHILD("NO_SETUID_FIXUP") { SAY(prctl(PR_SET_SECUREBITS, 4)); SAY(setuid(1000)); caps("then"); SAY(prctl(PR_SET_SECUREBITS, 0)); SAY(open("roots", O_RDWR) >= 0); DONE; } END
    CHILD("locked bits") { SAY(prctl(PR_SET_SECUREBITS, 0x20)); SAY(prctl(PR_SET_KEEPCAPS, 1)); SAY(prctl(PR_SET_SECUREBITS, 0)); SAY(prctl(PR_SET_SECUREBITS, 0x1000)); caps("then"); DONE; } END
    CHILD("root without DAC") { SAY(set(ALL & ~(BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH)), ALL, 0)); SAY(open("users", O_RDONLY) >= 0); SAY(open("users", O_RDWR)); SAY(access("users", W_OK)); DONE; } END
    CHILD("READ_SEARCH") { SAY(prctl(PR_SET_KEEPCAPS, 1)); SAY(setuid(1000)); SAY(set(BIT(CAP_DAC_READ_SEARCH), ALL, 0)); SAY(open("roots", O_RDONLY) >= 0); SAY(open("roots", O_WRONLY)); DONE; } END
    CHILD("inheritable") { SAY(set(ALL, ALL, BIT(CAP_KILL))); SAY(set(ALL, ALL & ~BIT(CAP_SYS_TIME), BIT(CAP_KILL))); SAY(set(ALL, ALL, BIT(CAP_KILL))); SAY(prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN)); SAY(prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN)); SAY(prctl(PR_CAPBSET_READ, CAP_KILL)); SAY(prctl(PR_CAPBSET_READ, 63)); SAY(prctl(PR_CAPBSET_DROP, 63)); DONE; } END
    CHILD("ambient") { SAY(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0)); SAY(set(ALL, ALL, BIT(CAP_KILL))); SAY(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0)); SAY(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0)); SAY(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0)); SAY(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_KILL, 0, 0)); SAY(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0)); SAY(prctl(PR_CAP_AMBIENT, 9, CAP_KILL, 0, 0)); SAY(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)); SAY(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0)); SAY(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 63, 0, 0)); DONE; } END
    CHILD("setresuid") { SAY(setresuid(1, 2, 3)); caps("then"); SAY(setresuid(2, 3, 1)); SAY(setresuid(4, -1, -1)); SAY(setreuid(1, 3)); caps("then"); SAY(setresgid(5, -1, -1)); SAY(setfsuid(9)); SAY(setfsuid(-1)); DONE; } END
    CHILD("sends signals") { pid_t a = fork(); if (!a) { prctl(PR_SET_PDEATHSIG, SIGKILL); sleep(3); _exit(0); } setresuid(1000, 1000, 0); SAY(kill(a, 0)); SAY(kill(a, SIGCONT)); setuid(0); setresuid(1000, 1000, 1000); SAY(kill(a, SIGTERM)); SAY(syscall(SYS_tkill, a, 0)); SAY(syscall(SYS_rt_sigqueueinfo, a, 0, "                                                                                                                                ")); _exit(0); } 
    sleep(1);
    printf("versions\n");
    struct __user_cap_header_struct h = {0x1234, 0};
    struct __user_cap_data_struct d[2];
    SAY(syscall(SYS_capget, &h, 0));
    printf("  %x\n", h.version);
    h.version = 0x1234;
    SAY(syscall(SYS_capget, &h, d));
    h.version = _LINUX_CAPABILITY_VERSION_1;
    SAY(syscall(SYS_capget, &h, d));
    h.pid = -1;
    SAY(syscall(SYS_capget, &h, d));
    h.pid = 99999999;
    SAY(syscall(SYS_capget, &h, d));
    h.pid = 1;
    SAY(syscall(SYS_capset, &h, d));
    SAY(syscall(SYS_capget, 0, d));
    unlink("roots"), unlink("users"), unlink("made"), unlink("dev");
    rmdir(dir);
    return 0;
}
