/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * random_mappings FIRST COUNT STEPS: so many sequences of calls and accesses by chance, each from its number, on 48 pages
 * that two tables map. After each step it prints what came of it, the minor faults that it took, and what /proc and
 * mincore(2) say of the pages. Built with -DHUGE it works on four huge pages, most of which may be transparent ones.
 */
#define WHOLE_LINES
#include "native.h"

#ifndef DIGEST
#define DIGEST "unknown"
#endif

#define RW (PROT_READ | PROT_WRITE)
#ifdef HUGE
#define PER_HUGE 512
#define PAGES (4 * PER_HUGE)
#define FILE_PAGES (3 * PER_HUGE)
#else
#define PAGES 48
#define FILE_PAGES 20
#endif
#define HELD 2
#define SIGNAL_STACK (64UL << 10)

static char *area;
static int file, sealed, pagemap, memory, myself, ready[2];
static long held[HELD];
static u64 state;
static int is_access;
static char text[1 << 16] __attribute__((aligned(4096)));
/* Where a stack begins is chance, and so is on how many pages it is. */
static char own_stack[8 * PAGE] __attribute__((aligned(4096)));

static u32 pick(u32 below)
{
	state = state * 6364136223846793005UL + 1442695040888963407UL;
	return (state >> 33) % below;
}

/* ---- an access that may fault ---- */

long try_access(char *p, long write);
extern char after_access[];
__asm__(".text\n"
	"try_access:\n"
	"	xor %eax, %eax\n"
	"	test %rsi, %rsi\n"
	"	jnz 1f\n"
	"	movzbl (%rdi), %eax\n"
	"	jmp after_access\n"
	"1:	movb $'W', (%rdi)\n"
	".globl after_access\n"
	"after_access:\n"
	"	ret\n");

static void faulted(int signo, int *info, u64 *context)
{
	context[5 + 16] = (u64)after_access; /* gregs[REG_RIP] */
	context[5 + 13] = -(signo * 1000L + info[2]);
}

/* ---- what there is to see ---- */

static u64 number(const char **at, u32 base)
{
	u64 value = 0;

	for (;; (*at)++) {
		u32 digit = **at >= 'a' ? **at - 'a' + 10 : **at - '0';

		if (**at < '0' || (**at > '9' && **at < 'a') || digit >= base)
			return value;
		value = value * base + digit;
	}
}

static int begins(const char *line, const char *name)
{
	return !memcmp(line, name, strlen(name));
}

static const char *const figures[] = { "Rss:",		 "Pss:",	"Pss_Dirty:", "Shared_Clean:", "Shared_Dirty:", "Private_Clean:",
				       "Private_Dirty:", "Referenced:", "Anonymous:", "LazyFree:",     "Locked:",
#ifdef HUGE
				       "AnonHugePages:", "ShmemPmdMapped:", "THPeligible:"
#endif
};

/* Equal ones that follow each other as one, with how many there are. */
static void show_digits(char *digits, u64 pages)
{
#ifdef HUGE
	for (u64 i = 0, same = 0; i < pages; i++) {
		same++;
		if (i + 1 == pages || digits[i + 1] != digits[i]) {
			print("%ldx%c ", same, digits[i]);
			same = 0;
		}
	}
#else
	digits[pages] = 0;
	print("%s", digits);
#endif
}

static void show_mapping(const char *line, u64 low, u64 high)
{
	static u8 there[PAGES * 4];
	static u64 words[PAGES * 4];
	static char digits[PAGES * 4 + 1];
	u64 pages = (high - low) / PAGE;

	if (pages > PAGES * 4)
		return;
	memset(there, 0, pages);
	memset(words, 0, pages * 8);
	MUST(mincore, low, high - low, there);
	MUST(pread64, pagemap, words, pages * 8, low / PAGE * 8);
	for (u64 i = 0; i < pages; i++)
		digits[i] = words[i] >> 58 & 1 ? 'G' :
						 "0123456789abcdef"[words[i] >> 63 | (words[i] >> 61 & 1) << 1 |
								    (words[i] >> 56 & 1) << 2 | (there[i] & 1) << 3];
	print("  %ld-%ld %c%c%c%c ", (long)(low - (u64)area) / (long)PAGE, (long)(high - (u64)area) / (long)PAGE, line[1],
	      line[2], line[3], line[4]);
	show_digits(digits, pages);
}

static void show_all(void)
{
	int fd = MUST(open, "/proc/self/smaps", O_RDONLY), inside = 0;
	u64 used = 0;
	long n;

	while ((n = MUST(read, fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += n;
	text[used] = 0;
	MUST(close, fd);
	for (const char *line = text; *line; line++) {
		const char *at = line;

		if (*at < 'A') {
			u64 low = number(&at, 16), high = (at++, number(&at, 16));

			inside = low < (u64)area + PAGES * PAGE && high > (u64)area;
			if (inside) {
				show_mapping(at, low, high);
				at += 6;
				print(" +%lx", number(&at, 16));
			}
		} else if (*at >= 'a' && inside != 2) {
			u64 low = number(&at, 16), high = (at++, number(&at, 16));

			inside = low < (u64)area + PAGES * PAGE && high > (u64)area;
			if (inside)
				show_mapping(at, low, high);
		} else if (inside && begins(line, "VmFlags:")) {
			print(" ");
			for (at = line + 9; *at != '\n'; at++)
				print("%c", *at);
			print("\n");
			inside = 0;
		} else if (inside) {
			for (u32 i = 0; i < COUNT(figures); i++)
				if (begins(line, figures[i])) {
					at = line + strlen(figures[i]);
					while (*at == ' ')
						at++;
					print(" %ld", number(&at, 10));
				}
		}
		while (*line != '\n')
			line++;
	}
}

static const char *const totals[] = { "VmSize:", "VmLck:", "VmData:", "VmPTE:", "RssFile:", "RssShmem:" };
static u64 before[COUNT(totals)];

/* What has changed since the sequence began, in kB. */
static void show_totals(int shown)
{
	int fd = MUST(open, "/proc/self/status", O_RDONLY);

	text[MUST(read, fd, text, sizeof(text) - 1)] = 0;
	MUST(close, fd);
	for (const char *line = text; *line; line++) {
		for (u32 i = 0; i < COUNT(totals); i++)
			if (begins(line, totals[i])) {
				const char *at = line + strlen(totals[i]);

				while (*at < '0' || *at > '9')
					at++;
				u64 value = number(&at, 10);

				if (shown)
					print(" %s %ld", totals[i], (long)(value - before[i]));
				else
					before[i] = value;
			}
		while (*line != '\n')
			line++;
	}
}

static long faults(void)
{
	static struct rusage usage;

	MUST(getrusage, RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* ---- the steps ---- */

static const int prots[] = { PROT_NONE, PROT_READ, RW, RW, RW, RW | PROT_EXEC, PROT_READ | PROT_EXEC };
static const int more[] = { 0,	       0,	     0,		    0,		    MAP_NORESERVE,
			    MAP_POPULATE, MAP_STACK, MAP_GROWSDOWN, MAP_LOCKED, MAP_POPULATE | MAP_LOCKED };
static const int advices[] = { MADV_NORMAL,   MADV_RANDOM,     MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_DONTNEED,
			       MADV_DONTNEED, MADV_FREE,       MADV_FREE,       MADV_REMOVE,   MADV_DONTFORK, MADV_DOFORK,
			       MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP,   MADV_DODUMP,   MADV_WIPEONFORK,
			       MADV_KEEPONFORK, 20, 21, 21, 22, 22, 23, 23, 24, 102, 102, 103,
#ifdef HUGE
			       25, 25, 25, 25, 20, 20, MADV_HUGEPAGE, MADV_HUGEPAGE, MADV_FREE
#endif
};

static void result(long value)
{
	if (value < 0 && value > -4096)
		print(" = %s", errno_name(-value));
	else if ((u64)value >= (u64)area && (u64)value < (u64)area + PAGES * PAGE)
		print(" = at %ld", (value - (long)area) / (long)PAGE);
	else
		print(" = %s", value ? "away" : "0");
}

static void put_away(long value, u64 length)
{
	if (!failed(value) && ((u64)value < (u64)area || (u64)value >= (u64)area + PAGES * PAGE))
		MUST(munmap, value, length);
}

static void step_mmap(char *p, u64 size)
{
	int prot = prots[pick(COUNT(prots))], flags = more[pick(COUNT(more))], kind = pick(8);
	int fd = kind == 4 || kind == 5 ? (pick(8) ? file : sealed) : -1;
	u64 first = fd < 0 ? 0 : pick(FILE_PAGES);
	long value;

#ifdef HUGE
	if (pick(4))
		first &= -PER_HUGE;
#endif

	flags |= kind < 4 ? MAP_PRIVATE | MAP_ANONYMOUS : kind == 4 ? MAP_PRIVATE : kind == 5 ? MAP_SHARED :
		 kind == 6 ? MAP_SHARED | MAP_ANONYMOUS : 8 | MAP_ANONYMOUS;
	flags |= (const int[]){ MAP_FIXED, MAP_FIXED, MAP_FIXED, MAP_FIXED, MAP_FIXED_NOREPLACE, 0 }[pick(6)];
	print("mmap prot %x flags %x %sfile %ld", prot, flags, fd == sealed ? "sealed " : "", first);
	value = SYS(mmap, p, size, prot, flags, fd, first * PAGE);
#ifdef HUGE
	if (!failed(value) && pick(4))
		print(" and %s", result_name(SYS(madvise, value, size, MADV_HUGEPAGE)));
#endif
	result(value);
	put_away(value, size);
}

static void step_mremap(char *p, u64 size)
{
	int flags = (const int[]){ 0, 1, 3, 3, 3, 3, 5, 7 }[pick(8)];
	u64 longer = pick(3) ? size : (1 + pick(8)) * PAGE, old = pick(12) ? size : 0;
	char *to = area + pick(PAGES - 8) * PAGE;
	long value;

#ifdef HUGE
	if (pick(3))
		to = area + pick(4) * PER_HUGE * PAGE;
#endif

	if (flags == 5)
		to = 0;
	print("mremap old %ld new %ld flags %x to %ld", old / PAGE, longer / PAGE, flags, to ? (to - area) / (long)PAGE : -1);
	value = SYS(mremap, p, old, longer, flags, to);
	result(value);
	put_away(value, longer);
}

static void step_fork(char *p, u64 size)
{
	u32 slot = pick(HELD + 2), touched = pick(2);
	long pid;

	if (slot < HELD && held[slot]) {
		print("the child ends");
		end_child(held[slot]);
		held[slot] = 0;
		return;
	}
	print("fork, %s", slot < HELD ? "and it stays" : "and it ends");
	pid = MUST(fork);
	if (!pid) {
		for (u64 at = 0; touched && at < size; at += PAGE)
			try_access(p + at, 1);
		if (slot < HELD)
			MUST(write, ready[1], "", 1);
		while (slot < HELD)
			SYS(pause);
		leave(0);
	}
	if (slot < HELD) {
		char byte;

		MUST(read, ready[0], &byte, 1);
		held[slot] = pid;
	} else {
		MUST(wait4, pid, 0, 0, 0);
	}
}

static void access_pages(char *p, u64 size, int write)
{
	long last = 0, value;

	is_access = 1;
	print(write ? "write" : "read");
	for (char *at = p; at < p + size; at += PAGE) {
		value = try_access(at, write);
		if (at == p || (value < 0 && (value != last || PAGES < 256))) /* of many, those that begin something new */
			print(" %ld", value);
		last = value;
	}
}

struct scan { /* struct pm_scan_arg */
	u64 size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, all, any, wanted;
};

/* Which pages are of which kinds, by PAGEMAP_SCAN. */
static void step_scan(char *p, u64 size)
{
	static u64 found[24][3];
	struct scan scan = { .size = sizeof(scan), .start = (u64)p, .end = (u64)p + size, .vec = (u64)found };
	long n;

	scan.vec_len = 1 + pick(24);
	scan.max_pages = pick(3) ? 0 : 1 + pick(6);
	scan.inverted = pick(3) ? 0 : pick(64) << 2;
	scan.all = pick(2) ? 0 : (const u64[]){ 4, 8, 32, 12, 40 }[pick(5)];
	scan.any = pick(2) ? 0 : (const u64[]){ 8, 44, 40, 36 }[pick(4)];
	scan.wanted = pick(8) ? 44 : 4;
	print("scan %ld %ld inverted %lx all %lx any %lx wanted %lx", scan.vec_len, scan.max_pages, scan.inverted, scan.all,
	      scan.any, scan.wanted);
	n = SYS(ioctl, pagemap, 0xc0606610, &scan);
	if (failed(n)) {
		print(" = %s", errno_name(-n));
		return;
	}
	print(" = %ld, to %ld", n, (long)(scan.walk_end - (u64)area) / (long)PAGE);
	for (long i = 0; i < n; i++)
		print(" %ld-%ld:%lx", (long)(found[i][0] - (u64)area) / (long)PAGE, (long)(found[i][1] - (u64)area) / (long)PAGE,
		      found[i][2]);
}

static void step_process_madvise(char *p, u64 size)
{
	struct iovec parts[3];
	u32 number = 1 + pick(3), advice = advices[pick(COUNT(advices))];

	parts[0].iov_base = p, parts[0].iov_len = size;
	for (u32 i = 1; i < number; i++) {
		parts[i].iov_base = area + pick(PAGES - 6) * PAGE + (pick(8) ? 0 : 8);
		parts[i].iov_len = (1 + pick(6)) * PAGE - (pick(8) ? 0 : 8);
	}
	print("process_madvise %d of %d", advice, number);
	for (u32 i = 1; i < number; i++)
		print(", %ld+%lx", ((char *)parts[i].iov_base - area) / (long)PAGE, parts[i].iov_len);
	long n = SYS(process_madvise, myself, parts, number, advice, 0);
	if (failed(n))
		print(" = %s", errno_name(-n));
	else
		print(" = %lx", n);
}

/* Through /proc/self/mem, which heeds no rights, or process_vm_writev(2) and _readv, which do. */
static void step_remote(char *p, u64 size, int how)
{
	static char page[24 * PAGE];
	struct iovec here = { page, size > sizeof(page) ? sizeof(page) : size }, there = { p + pick(2) * 100, here.iov_len };
	static const char *const names[] = { "mem write", "mem read", "process_vm_writev", "process_vm_readv" };
	long n;

	memset(page, 'M', sizeof(page));
	print("%s +%ld", names[how], (u64)there.iov_base % PAGE);
	n = how == 0 ? SYS(pwrite64, memory, page, here.iov_len, there.iov_base) :
	    how == 1 ? SYS(pread64, memory, page, here.iov_len, there.iov_base) :
	    how == 2 ? SYS(process_vm_writev, SYS(getpid), &here, 1, &there, 1, 0) :
		       SYS(process_vm_readv, SYS(getpid), &here, 1, &there, 1, 0);
	if (failed(n))
		print(" = %s", errno_name(-n));
	else
		print(" = %lx, %d", n, page[0]);
}

static void step_rare(char *p, u64 size)
{
	u32 how = pick(9);
	static u8 there[PAGES + 16];

	if (how < 2) {
		u64 first = pick(FILE_PAGES), prot = pick(8) ? 0 : 1;

		print("remap_file_pages %ld", first);
		result(SYS(remap_file_pages, p, size, prot, first, 0));
	} else if (how < 4) {
		int fd = MUST(open, "/proc/self/clear_refs", O_WRONLY);
		u32 which = pick(3);

		print("clear_refs %d", which + 1);
		result(SYS(write, fd, "123" + which, 1) - 1);
		MUST(close, fd);
	} else if (how == 4) {
		print("mincore");
		result(SYS(mincore, p + (pick(4) ? 0 : 8), size, there));
	} else if (how == 5) {
		u64 pages = pick(FILE_PAGES), more = 1 + pick(4);

		print("allocate %ld+%ld", pages, more);
		result(SYS(fallocate, file, pick(2), pages * PAGE, more * PAGE));
	} else if (how < 8) {
		print("madvise odd");
		result(SYS(madvise, p + pick(2) * 8, size - pick(3) * 100, advices[pick(COUNT(advices))]));
	} else {
		int flags = (const int[]){ 1, 2, 3, 4, 5, 6 }[pick(6)];

		print("msync %d", flags);
		result(SYS(msync, p, size, flags));
	}
}

#ifdef HUGE
static u32 some_page(void)
{
	static const u32 near[] = { 0, 1, 511, 512, 513, 1024, 1023, 1536, 2047 };

	return pick(3) ? pick(4) * PER_HUGE : pick(2) ? near[pick(COUNT(near))] : pick(PAGES);
}

static u32 some_length(void)
{
	return pick(3) ? PER_HUGE * (1 + pick(2)) : pick(2) ? 1 + pick(12) : 1 + pick(700);
}
#else
static u32 some_page(void)
{
	return pick(PAGES);
}

static u32 some_length(void)
{
	return 1 + pick(pick(4) ? 6 : 24);
}
#endif

static void step(u32 done)
{
	u32 what = pick(done < 5 && PAGES < 256 ? 20 : 120), length = some_length(), first = some_page();
	char *p = area + first * PAGE;
	u64 size = length * PAGE;

	if (first + length > PAGES)
		size = (PAGES - first) * PAGE;
	print("%d+%ld ", first, size / PAGE);
#ifdef HUGE
	if (!pick(8)) { /* whole ones, that a page was made of or is to be */
		int advice = (const int[]){ 25, 25, 25, MADV_HUGEPAGE, MADV_FREE, 21 }[pick(6)];

		p = area + pick(4) * PER_HUGE * PAGE;
		print("madvise %d at %ld", advice, (p - area) / (long)PAGE);
		result(SYS(madvise, p, PER_HUGE * PAGE, advice));
		return;
	}
#endif
	if (what < 20) {
		step_mmap(p, size);
	} else if (what < 27) {
		print("munmap");
		result(SYS(munmap, p, size));
	} else if (what < 40) {
		int prot = prots[pick(COUNT(prots))];

		print("mprotect %x", prot);
		result(SYS(mprotect, p, size, prot));
	} else if (what < 52) {
		int advice = advices[pick(COUNT(advices))];

		print("madvise %d", advice);
		result(SYS(madvise, p, size, advice));
	} else if (what < 58) {
		u32 how = pick(4);

		print("%s", how == 0 ? "mlock" : how == 1 ? "mlock on fault" : "munlock");
		result(how == 0 ? SYS(mlock, p, size) : how == 1 ? SYS(mlock2, p, size, 1) : SYS(munlock, p, size));
	} else if (what < 67) {
		step_mremap(p, size);
	} else if (what < 82) {
		access_pages(p, size, 1);
	} else if (what < 92) {
		access_pages(p, size, 0);
	} else if (what < 96) {
		step_fork(p, size);
	} else if (what < 97) {
		u64 pages = pick(FILE_PAGES + 4);

		print("ftruncate %ld", pages);
		result(SYS(ftruncate, file, pages * PAGE));
	} else if (what < 98) {
		print("punch");
		result(SYS(fallocate, file, 3, pick(FILE_PAGES) * PAGE, (1 + pick(4)) * PAGE));
	} else if (what < 99) {
		print("msync");
		result(SYS(msync, p, size, 4));
	} else if (what < 103) {
		step_scan(p, size);
	} else if (what < 107) {
		step_process_madvise(p, size);
	} else if (what < 111) {
		step_remote(p, size, what - 107);
	} else if (what < 118) {
		step_rare(p, size);
	} else if (what < 119) {
		print("mseal");
		result(SYS(mseal, p, size / 8 + 1, 0));
	} else {
		u32 how = pick(6);

		if (how == 0) {
			int flags = pick(2) ? MCL_FUTURE : MCL_FUTURE | MCL_ONFAULT;

			print("mlockall %x", flags);
			result(SYS(mlockall, flags));
		} else if (how == 1) {
			print("munlockall");
			result(SYS(munlockall));
		} else if (how < 5) {
			print("pwrite");
			result(SYS(pwrite64, file, "x", 1, pick(FILE_PAGES) * PAGE) - 1);
		} else {
			print("mseal");
			result(SYS(mseal, p, size / 8 + 1, 0));
		}
	}
}

/* When a processor tells of the pages that it has gathered depends on what ran there before: now. */
static void drain(void)
{
	MUST(madvise, text, PAGE, 22);
}

/* How much was written since a fork depends on the length of names in /proc. */
static void touch_own(void)
{
	for (u64 at = 0; at < sizeof(text); at += PAGE)
		*(volatile char *)(text + at) = 0;
	for (u64 at = 0; at < sizeof(own_stack) - PAGE; at += PAGE)
		*(volatile char *)(own_stack + at) = 0;
	drain();
}

static void sequence(u64 number, u32 steps)
{
	static char page[PAGE];
	long first, last;

	state = number * 2654435761UL + 12345;
	area = (char *)(0x100000000000UL + number % 4096 * (1UL << 30) + (2UL << 20) - (PAGES > 48 ? 0 : 24 * PAGE));
	file = MUST(memfd_create, "file", 0);
	memset(page, 'F', PAGE);
	sealed = MUST(memfd_create, "sealed", MFD_ALLOW_SEALING);
	for (int i = 0; i < FILE_PAGES; i++) {
		MUST(write, file, page, PAGE);
		MUST(write, sealed, page, PAGE);
	}
	MUST(fcntl, sealed, F_ADD_SEALS, pick(2) ? F_SEAL_WRITE : F_SEAL_FUTURE_WRITE);
#ifdef HUGE
	int shared = !pick(4);

	MUST(mmap, area, PAGES * PAGE, RW, (shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS) | MAP_FIXED, shared ? file : -1, 0);
	MUST(madvise, area, (2 + pick(3)) * PER_HUGE * PAGE, MADV_HUGEPAGE);
#endif
	print("sequence %ld\n", number);
	show_totals(0);
	for (u32 i = 0; i < steps; i++) {
		print("%d: ", i);
		touch_own();
		first = faults();
		step(i);
		last = faults();
		drain();
		if (PAGES < 256 || !is_access) /* a processor may fault once more by what it remembers of a huge page */
			print(", %ld faults", last - first);
		is_access = 0;
		show_totals(1);
		print("\n");
		show_all();
	}
	for (int i = 0; i < HELD; i++)
		if (held[i]) {
			end_child(held[i]);
			held[i] = 0;
		}
	MUST(close, file);
	MUST(close, sealed);
	MUST(munlockall);
	SYS(munmap, area - 256 * PAGE, (PAGES + 256) * PAGE);
}

static u64 argument(const char *at)
{
	return number(&at, 10);
}

static u64 asked[3] = { 1, 1, 40 };

__attribute__((noreturn, used)) static void run(void)
{
	for (u64 i = 0; i < asked[1]; i++)
		sequence(asked[0] + i, asked[2]);
	leave(0);
}

int main(int argc, char **argv)
{
	/* a stack for signals that fork does not share out anew: how much of it they take depends on the processor */
	stack_t stack = { anonymous(SIGNAL_STACK, MAP_SHARED), 0, SIGNAL_STACK };

	u64 cpus = 0;

	print("source %s\n", DIGEST);
	for (int i = 1; i < argc && i <= 3; i++)
		asked[i - 1] = argument(argv[i]);
	memset(stack.ss_sp, 0, SIGNAL_STACK);
	MUST(sigaltstack, &stack, 0);
	handle(SIGSEGV, faulted, SA_SIGINFO | SA_ONSTACK);
	handle(SIGBUS, faulted, SA_SIGINFO | SA_ONSTACK);
	MUST(pipe2, ready, 0);
	MUST(sched_getaffinity, 0, 8, &cpus);
	cpus &= -cpus;
	MUST(sched_setaffinity, 0, 8, &cpus); /* what a processor has not told of yet depends on which it is */
	pagemap = MUST(open, "/proc/self/pagemap", O_RDONLY);
	memory = MUST(open, "/proc/self/mem", O_RDWR);
	myself = MUST(pidfd_open, SYS(getpid), 0);
	memset(text, 0, sizeof(text));
	try_access((char *)16, 1);
	faults();
	__asm__ volatile("mov %0, %%rsp; xor %%ebp, %%ebp; call run" : : "r"(own_stack + sizeof(own_stack)) : "memory");
	return 1;
}
