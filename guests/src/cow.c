/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cow: private memory over fork, three generations. After fork each process has
 * a memory of its own, although the pages are copied only when one is written.
 *
 * Twelve pages of three kinds: anonymous (0-5), .data of the file (6-7), .bss
 * (8-11). Who wrote a page last is a letter: P parent, C child, G grandchild, A
 * the parent again; F is what the ELF file holds, '.' a page never written. The
 * view of a process is the twelve letters, and each check looks at every word of
 * every page. Bytes over two pipes hand the turn from process to process.
 *
 * Prints one line a check, each "...: ok". Exit status 1 if one was WRONG.
 */
#include "guest.h"

#define PAGES 12
#define WORDS (PAGE_SIZE / sizeof(u64))
#define FILE_WORD 0x656c69662073656cUL /* what .data begins each of its pages with */

static u64 in_data[2 * WORDS] __attribute__((aligned(4096))) = { [0] = FILE_WORD, [WORDS] = FILE_WORD };
static u64 in_bss[4 * WORDS] __attribute__((aligned(4096)));

static volatile u64 *pages[PAGES];
static int to_parent[2], to_child[2];

/* What writer `who` puts into a word: no two words of one writer are the same. */
static u64 pattern(char who, u64 page, u64 word)
{
	if (who == '.')
		return 0;
	if (who == 'F')
		return word ? 0 : FILE_WORD;
	return (u64)who << 56 | page << 32 | word;
}

/* Writes, as `who`, every page that is marked with that letter in `view`. */
static void write_pages(char who, const char *view)
{
	for (u64 page = 0; page < PAGES; page++)
		for (u64 word = 0; word < WORDS && view[page] == who; word++)
			pages[page][word] = pattern(who, page, word);
}

/* Does this process see exactly `view`? */
static void check_view(const char *name, const char *view)
{
	u64 wrong = 0;

	for (u64 page = 0; page < PAGES; page++)
		for (u64 word = 0; word < WORDS; word++)
			wrong += pages[page][word] != pattern(view[page], page, word);
	check(name, wrong == 0);
}

static void hand_over(const int pipe[2])
{
	must(sys_write(pipe[1], "!", 1), "write to a pipe");
}

static void take_turn(const int pipe[2])
{
	char byte;

	must(sys_read(pipe[0], &byte, 1), "read from a pipe");
}

static int grandchild(void)
{
	check_view("grandchild sees what the child had, and nothing of the parent's later writes", "PCPCPCFC.C..");
	write_pages('G', "G..G..G...G.");
	check_view("grandchild sees its own writes", "GCPGPCGC.CG.");
	return guest_wrong != 0;
}

static int child(void)
{
	long pid;

	check_view("child sees what the parent wrote before fork", "PPPPP.FF....");
	write_pages('C', ".C.C.C.C.C..");
	check_view("child sees its own writes", "PCPCPCFC.C..");
	hand_over(to_parent);
	take_turn(to_child);
	check_view("child sees nothing of what the parent wrote after fork", "PCPCPCFC.C..");

	pid = must(sys_fork(), "fork");
	if (pid == 0)
		return grandchild();
	guest_wrong += exited(wait_for(pid)) != 0;
	check_view("child sees nothing of the grandchild", "PCPCPCFC.C..");

	/* The kernel writes for us here, and must copy the page just the same. */
	must(sys_read(to_child[0], (void *)pages[4], sizeof(u64)), "read from a pipe");
	check("child: read(2) stored into a page that is still shared", pages[4][0] == FILE_WORD);
	pages[4][0] = pattern('P', 4, 0);
	check_view("child: the rest of that page is right", "PCPCPCFC.C..");
	return guest_wrong != 0;
}

int main(int argc, char **argv, char **envp)
{
	u64 *anonymous_pages = anonymous(6 * PAGE_SIZE, MAP_PRIVATE);
	u64 message = FILE_WORD;
	long pid;

	(void)argc, (void)argv, (void)envp;
	for (u64 page = 0; page < PAGES; page++)
		pages[page] = page < 6 ? anonymous_pages + page * WORDS
			    : page < 8 ? in_data + (page - 6) * WORDS
				       : in_bss + (page - 8) * WORDS;
	must(sys_pipe2(to_parent, 0), "pipe2");
	must(sys_pipe2(to_child, 0), "pipe2");

	check_view("before anything is written", "......FF....");
	write_pages('P', "PPPPP.......");
	check_view("parent sees its own writes", "PPPPP.FF....");

	pid = must(sys_fork(), "fork");
	if (pid == 0)
		return child();
	take_turn(to_parent);
	check_view("parent sees nothing of the child", "PPPPP.FF....");
	write_pages('A', "..AA..A.A...");
	check_view("parent sees its own later writes", "PPAAP.AFA...");
	hand_over(to_child);
	must(sys_write(to_child[1], &message, sizeof(message)), "write to a pipe");
	guest_wrong += exited(wait_for(pid)) != 0;
	check_view("parent sees nothing of child and grandchild", "PPAAP.AFA...");

	/* Nobody shares these pages any more. */
	write_pages('A', "AAAAAAAAAAAA");
	check_view("parent writes every page when it is alone again", "AAAAAAAAAAAA");
	return guest_wrong != 0;
}
