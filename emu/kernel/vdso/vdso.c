// SPDX-License-Identifier: GPL-2.0-or-later
// The functions that every process finds in its [vdso] (arch/x86/entry/vdso): they answer in user mode, from the time
// stamp counter and the page [vvar], or make the system call where that is not enough. The counter of the machine
// counts nanoseconds of CLOCK_MONOTONIC, so that nothing has to be scaled.

typedef long time_t;
struct timespec { time_t tv_sec; long tv_nsec; };
struct timeval { time_t tv_sec; long tv_usec; };
struct timezone { int tz_minuteswest, tz_dsttime; };

// The first page of [vvar]; emu/kernel/vdso/__init__.py writes it. Each word is read once, so that no call sees half a change.
extern const volatile struct {
    long wall_ns; // CLOCK_REALTIME less CLOCK_MONOTONIC
    long tai_ns;  // CLOCK_TAI less CLOCK_MONOTONIC
    long tick_ns; // the resolution of the coarse clocks
    struct timezone zone;
    long monotonic_ns, boottime_ns; // what a time namespace shows CLOCK_MONOTONIC and CLOCK_BOOTTIME ahead
} vvar __attribute__((visibility("hidden")));

enum { REALTIME, MONOTONIC, PROCESS_CPUTIME, THREAD_CPUTIME, MONOTONIC_RAW, REALTIME_COARSE, MONOTONIC_COARSE, BOOTTIME, TAI = 11 };
enum { SYS_clock_gettime = 228, SYS_clock_getres = 229 };
#define NSEC_PER_SEC 1000000000L

#define EXPORT(result, name, ...)                                                              \
    result __vdso_##name(__VA_ARGS__);                                                         \
    __attribute__((weak, alias("__vdso_" #name))) result name(__VA_ARGS__);                    \
    result __vdso_##name(__VA_ARGS__)

static inline long system_call(long number, long first, void *second)
{
    long result;
    asm volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
    return result;
}

static inline long monotonic(void)
{
    unsigned low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return (long)((unsigned long)high << 32 | low);
}

EXPORT(int, clock_gettime, int clock, struct timespec *time)
{
    long ns;
    if (clock == PROCESS_CPUTIME || clock == THREAD_CPUTIME || clock < 0)
        return (int)system_call(SYS_clock_gettime, clock, time);
    ns = monotonic();
    switch (clock) {
    case REALTIME_COARSE:
        ns -= ns % vvar.tick_ns;
        // fall through
    case REALTIME:
        ns += vvar.wall_ns;
        break;
    case TAI:
        ns += vvar.tai_ns;
        break;
    case MONOTONIC_COARSE:
        ns -= ns % vvar.tick_ns;
        // fall through
    case MONOTONIC:
    case MONOTONIC_RAW:
        ns += vvar.monotonic_ns;
        break;
    case BOOTTIME:
        ns += vvar.boottime_ns;
        break;
    default:
        return (int)system_call(SYS_clock_gettime, clock, time);
    }
    time->tv_sec = ns / NSEC_PER_SEC;
    time->tv_nsec = ns % NSEC_PER_SEC;
    return 0;
}

EXPORT(int, gettimeofday, struct timeval *time, struct timezone *zone)
{
    if (time) {
        long ns = vvar.wall_ns + monotonic();
        time->tv_sec = ns / NSEC_PER_SEC;
        time->tv_usec = ns % NSEC_PER_SEC / 1000;
    }
    if (zone) {
        zone->tz_minuteswest = vvar.zone.tz_minuteswest;
        zone->tz_dsttime = vvar.zone.tz_dsttime;
    }
    return 0;
}

EXPORT(time_t, time, time_t *where)
{
    time_t seconds = (vvar.wall_ns + monotonic()) / NSEC_PER_SEC;
    if (where)
        *where = seconds;
    return seconds;
}

EXPORT(int, clock_getres, int clock, struct timespec *resolution)
{
    long ns;
    switch (clock) {
    case REALTIME_COARSE:
    case MONOTONIC_COARSE:
        ns = vvar.tick_ns;
        break;
    case REALTIME:
    case MONOTONIC:
    case MONOTONIC_RAW:
    case BOOTTIME:
    case TAI:
        ns = 1;
        break;
    default:
        return (int)system_call(SYS_clock_getres, clock, resolution);
    }
    if (resolution) {
        resolution->tv_sec = 0;
        resolution->tv_nsec = ns;
    }
    return 0;
}

EXPORT(long, getcpu, unsigned *cpu, unsigned *node, void *unused)
{
    unsigned low, high, where;
    (void)unused;
    asm volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(where)); // IA32_TSC_AUX: node and CPU
    if (cpu)
        *cpu = where & 0xfff;
    if (node)
        *node = where >> 12;
    return 0;
}

// What version of Linux this is for, as its vDSO says it (linux/elfnote-lto.h).
asm(".pushsection .note.Linux, \"a\", @note\n"
    "  .balign 4\n"
    "  .long 6, 4, 0\n"
    "  .asciz \"Linux\"\n"
    "  .balign 4\n"
    "  .long 0x061200\n"
    ".popsection\n");
