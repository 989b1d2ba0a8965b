/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a robust list says at a thread's end: plain and inheriting locks, the one being taken, broken and endless lists, execve. */
#include "native.h"

struct entry {
	struct entry *next;
	u32 word, pad;
};

static struct {
	struct entry *next;
	long offset;
	struct entry *pending;
} head;

static struct entry one, two, three, many[2100];
static volatile int tid, waiter_tid;
static volatile long got;
static volatile u32 stage;

#define OFFSET ((long)&((struct entry *)0)->word)

static void begin(void)
{
	head.next = (struct entry *)&head;
	head.offset = OFFSET;
	head.pending = NULL;
	MUST(set_robust_list, &head, sizeof(head));
}

static const char *what(u32 word)
{
	return word == FUTEX_OWNER_DIED			      ? "died" :
	       word == (FUTEX_OWNER_DIED | FUTEX_WAITERS) ? "died, waiters" :
	       word == 0				      ? "free" :
								"held";
}

static int plain(u64 unused)
{
	(void)unused;
	begin();
	one.word = SYS(gettid);
	two.word = SYS(gettid) | FUTEX_WAITERS;
	three.word = 12345;
	one.next = &two, two.next = &three, three.next = (struct entry *)&head;
	head.next = &one;
	stage = 1;
	sleep_ms(50);
	return 0;
}

static int wait_for_two(u64 unused)
{
	(void)unused;
	u32 now = two.word;
	got = SYS(futex, &two.word, FUTEX_WAIT, now, NULL);
	return 0;
}

static int inheriting(u64 unused)
{
	(void)unused;
	begin();
	one.word = SYS(gettid);
	one.next = (struct entry *)&head;
	head.next = (struct entry *)((u64)&one | 1);
	stage = 1;
	sleep_ms(60);
	return 0;
}

static int lock_one(u64 unused)
{
	(void)unused;
	got = SYS(futex, &one.word, FUTEX_LOCK_PI, 0, NULL);
	got = got ? got : one.word == (SYS(gettid) | FUTEX_OWNER_DIED | FUTEX_WAITERS) ? 1 : 2;
	SYS(futex, &one.word, FUTEX_UNLOCK_PI);
	return 0;
}

static int being_taken(u64 number)
{
	begin();
	one.word = number == 0 ? SYS(gettid) : number == 1 ? 0 : 12345;
	head.pending = &one;
	stage = 1;
	sleep_ms(40);
	return 0;
}

static int broken(u64 unused)
{
	(void)unused;
	begin();
	one.word = two.word = SYS(gettid);
	one.next = NOWHERE;
	two.next = (struct entry *)&head;
	head.next = &one;
	head.pending = &two;
	return 0;
}

static int endless(u64 unused)
{
	(void)unused;
	begin();
	for (u32 i = 0; i < COUNT(many); i++) {
		many[i].word = SYS(gettid);
		many[i].next = many + i + 1;
	}
	many[COUNT(many) - 1].next = many;
	head.next = many;
	return 0;
}

static int odd_address(u64 unused)
{
	(void)unused;
	begin();
	one.word = two.word = SYS(gettid);
	one.next = (struct entry *)((char *)&two + 2);
	head.next = &one;
	return 0;
}

static int has_no_list(u64 unused)
{
	void *list = NOWHERE;
	u64 size = 0;

	(void)unused;
	SHOW(get_robust_list, 0, &list, &size);
	print("%s %ld\n", list ? "a list" : "none", size);
	return 0;
}

static void run(const char *name, int (*function)(u64), u64 argument)
{
	stage = 0;
	print("%s: ", name);
	thread(function, argument, &tid);
}

int main(int argc, char **argv, char **envp)
{
	if (argc > 1)
		return has_no_list(0);
	run("plain", plain, 0);
	while (!stage)
		sleep_ms(1);
	thread(wait_for_two, 0, &waiter_tid);
	join(&tid);
	join(&waiter_tid);
	print("%s; %s; %s; waiter %ld\n", what(one.word), what(two.word), what(three.word), got);
	run("inheriting", inheriting, 0);
	while (!stage)
		sleep_ms(1);
	thread(lock_one, 0, &waiter_tid);
	join(&tid);
	join(&waiter_tid);
	print("%s, %ld\n", what(one.word), got);
	run("inheriting without waiters", inheriting, 0);
	join(&tid);
	print("%s; ", what(one.word));
	print("%s; ", result_name(SYS(futex, &one.word, FUTEX_LOCK_PI, 0, NULL)));
	SAY(one.word == (u32)(SYS(gettid) | FUTEX_OWNER_DIED));
	SHOW(futex, &one.word, FUTEX_UNLOCK_PI);
	for (u64 i = 0; i < 3; i++) {
		run("being taken", being_taken, i);
		join(&tid);
		print("%s\n", what(one.word));
	}
	run("broken", broken, 0);
	join(&tid);
	print("%s; %s\n", what(one.word), what(two.word));
	run("odd", odd_address, 0);
	join(&tid);
	print("%s; %s\n", what(one.word), what(two.word));
	run("endless", endless, 0);
	join(&tid);
	int died = 0;
	for (u32 i = 0; i < COUNT(many); i++)
		died += many[i].word == FUTEX_OWNER_DIED;
	SAY(died);
	run("a new thread", has_no_list, 0);
	join(&tid);
	SHOW(set_robust_list, &head, 23);
	SHOW(get_robust_list, 0, NOWHERE, &head);
	SHOW(get_robust_list, 0x3ffffffe, NOWHERE, &head);
	/* execve is an end too, of the memory if not of the thread */
	u32 *shared = anonymous(PAGE, MAP_SHARED);
	long pid = MUST(fork);
	if (!pid) {
		char *words[] = { "self", "x", NULL };
		struct entry *entry = (struct entry *)shared;
		begin();
		entry->word = SYS(gettid);
		entry->next = (struct entry *)&head;
		head.next = entry;
		SYS(execve, "/proc/self/exe", words, envp);
	}
	reap(pid);
	print("%s\n", what(((struct entry *)shared)->word));
	(void)argv;
	return 0;
}
