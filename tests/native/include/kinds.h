/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mappings of every kind, for guests that do the same with each. */
#ifndef KINDS_H
#define KINDS_H

#include "mappings.h"

static int file, readable, sealedfd, zero, secret;
static const char *const kinds[] = {
	"private", "shared", "none", "readonly", "exec", "droppable", "growsdown", "locked", "onfault", "sealed",
	"sealed ro", "file private", "file shared", "file ro private", "file ro shared", "sealed file",
	"zero private", "zero shared", "secret", "guarded", "noreserve", "populated zero", "shared none",
	"dontfork", "wipeonfork", "cowed file",
};
/* Four pages of a kind, of which the first two are there; they have been written where that is allowed. */
static char *make(int kind, char *p)
{
	switch (kind) {
	case 0:
		at(p, 4, RW, PRIVATE, -1, 0);
		break;
	case 1:
		at(p, 4, RW, SHARED, -1, 0);
		break;
	case 2:
		at(p, 4, RW, PRIVATE, -1, 0);
		touch(p, 2);
		MUST(mprotect, p, 4 * PAGE, 0);
		return p;
	case 3:
		at(p, 4, RW, PRIVATE, -1, 0);
		touch(p, 2);
		MUST(mprotect, p, 4 * PAGE, 1);
		return p;
	case 4:
		at(p, 4, 7, PRIVATE, -1, 0);
		break;
	case 5:
		at(p, 4, RW, 8 | MAP_ANONYMOUS, -1, 0);
		break;
	case 6:
		at(p, 4, RW, PRIVATE | MAP_GROWSDOWN, -1, 0);
		break;
	case 7:
		at(p, 4, RW, PRIVATE | MAP_LOCKED, -1, 0);
		break;
	case 8:
		at(p, 4, RW, PRIVATE, -1, 0);
		MUST(mlock2, p, 4 * PAGE, 1);
		break;
	case 9:
		at(p, 4, RW, PRIVATE, -1, 0);
		touch(p, 2);
		MUST(mseal, p, 4 * PAGE, 0);
		return p;
	case 10:
		at(p, 4, RW, PRIVATE, -1, 0);
		touch(p, 2);
		MUST(mprotect, p, 4 * PAGE, 1);
		MUST(mseal, p, 4 * PAGE, 0);
		return p;
	case 11:
		at(p, 4, RW, MAP_PRIVATE, file, 0);
		look(p + 3 * PAGE);
		break;
	case 12:
		at(p, 4, RW, MAP_SHARED, file, 0);
		break;
	case 13:
		at(p, 4, 1, MAP_PRIVATE, readable, 0);
		look(p);
		return p;
	case 14:
		at(p, 4, 1, MAP_SHARED, readable, 0);
		look(p);
		return p;
	case 15:
		at(p, 4, 1, MAP_SHARED, sealedfd, 0);
		look(p);
		return p;
	case 16:
		at(p, 4, RW, MAP_PRIVATE, zero, 0);
		break;
	case 17:
		at(p, 4, RW, MAP_SHARED, zero, 0);
		break;
	case 18:
		at(p, 4, RW, MAP_SHARED, secret, 0);
		break;
	case 19:
		at(p, 4, RW, PRIVATE, -1, 0);
		MUST(madvise, p + 2 * PAGE, PAGE, 102);
		break;
	case 20:
		at(p, 4, RW, PRIVATE | MAP_NORESERVE, -1, 0);
		break;
	case 21:
		at(p, 4, 1, PRIVATE | MAP_POPULATE, -1, 0);
		return p;
	case 22:
		at(p, 4, RW, SHARED, -1, 0);
		touch(p, 2);
		MUST(mprotect, p, 4 * PAGE, 0);
		return p;
	case 23:
		at(p, 4, RW, PRIVATE, -1, 0);
		MUST(madvise, p, 4 * PAGE, MADV_DONTFORK);
		break;
	case 24:
		at(p, 4, RW, PRIVATE, -1, 0);
		MUST(madvise, p, 4 * PAGE, MADV_WIPEONFORK);
		break;
	case 25:
		at(p, 4, RW, MAP_PRIVATE, file, 0);
		look(p + 2 * PAGE);
		break;
	}
	touch(p, 2);
	return p;
}

/* To be called first. */
UNUSED static void make_files(void)
{
	char path[] = "/proc/self/fd/ ";

	file = file_of(6);
	sealedfd = MUST(memfd_create, "s", MFD_ALLOW_SEALING);
	MUST(ftruncate, sealedfd, 4 * PAGE);
	MUST(fcntl, sealedfd, F_ADD_SEALS, F_SEAL_WRITE);
	path[14] = '0' + file;
	readable = MUST(open, path, O_RDONLY);
	zero = MUST(open, "/dev/zero", O_RDWR);
	secret = MUST(memfd_secret, 0);
	MUST(ftruncate, secret, 4 * PAGE);
}

#endif
