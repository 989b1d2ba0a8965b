/* SPDX-License-Identifier: GPL-2.0-or-later */
/* add_key(2), request_key(2), keyctl(2): keys and keyrings, who may do what with them, and what fails. */
#include "native.h"

#define K(...) SYS(keyctl, __VA_ARGS__)
#define A(...) SYS(add_key, __VA_ARGS__)
#define R(...) SYS(request_key, __VA_ARGS__)

static char b[40000];

/* Whether it worked, or the error; numbers of keys differ from run to run. */
static long r(const char *what, long result)
{
	print("%s = %s\n", what, failed(result) ? errno_name(-result) : "ok");
	return result;
}

static long n(const char *what, long result)
{
	return show(what, result);
}

static void desc(const char *what, long key)
{
	memset(b, 0, sizeof(b));
	long length = K(6, key, b, 300);
	if (failed(length))
		print("%s: %s\n", what, errno_name(-length));
	else
		print("%s: %ld %s\n", what, length, b);
}

int main(void)
{
	long child;
	long s = r("join", K(1, "mysess"));
	desc("session", s);
	r("getid", K(0, -3, 0));
	print("same %d\n", K(0, -3, 0) == s);
	long k = r("add", A("user", "k1", "payload", 7, -3));
	desc("k1", k);
	memset(b, 0, sizeof b);
	n("read", K(11, k, b, 100));
	print("%s\n", b);
	n("read0", K(11, k, 0, 0));
	n("read3", K(11, k, b, 3));
	long k2 = A("user", "k1", "other", 5, -3);
	print("updated %d\n", k2 == k);
	memset(b, 0, 100);
	n("read", K(11, k, b, 100));
	print("%s\n", b);
	r("badtype", A("nope", "k", "x", 1, -3));
	r("emptytype", A("", "k", "x", 1, -3));
	r("dot", A(".x", "k", "x", 1, -3));
	r("dotring", A("keyring", ".k", 0, 0, -3));
	r("nulltype", A(0, "k", "x", 1, -3));
	r("nulldesc", A("user", 0, "x", 1, -3));
	r("emptydesc", A("user", "", "x", 1, -3));
	r("faultpay", A("user", "k", 8, 1, -3));
	r("zero", A("user", "k", "", 0, -3));
	r("max", A("user", "kmax", b, 32767, -3));
	r("over", A("user", "kover", b, 32768, -3));
	r("huge", A("user", "kover", b, 1048576, -3));
	r("ringdata", A("keyring", "r", "x", 1, -3));
	r("badring", A("user", "k", "x", 1, k));
	r("noring", A("user", "k", "x", 1, 12345678));
	r("special", A("user", "k", "x", 1, -9));
	r("group", A("user", "k", "x", 1, -6));
	r("zeroid", A("user", "k", "x", 1, 0));
	r("logonbad", A("logon", "k", "x", 1, -3));
	long lg = r("logon", A("logon", "a:k", "x", 1, -3));
	r("logonread", K(11, lg, b, 10));
	desc("logon", lg);
	long t = r("thread", K(0, -1, 1));
	desc("thread", t);
	long p = r("process", K(0, -2, 1));
	desc("process", p);
	long u = r("user", K(0, -4, 1));
	desc("user", u);
	long us = r("usersess", K(0, -5, 1));
	desc("usersess", us);
	r("grp", K(0, -6, 1));
	r("reqauth", K(0, -7, 0));
	r("badspec", K(0, -20, 0));
	long ring = r("ring", A("keyring", "myring", 0, 0, -3));
	desc("ring", ring);
	r("link", K(8, k, ring));
	n("readring", K(11, ring, b, 100));
	print("in ring %d\n", *(int *)b == (int)k);
	r("linkbad", K(8, k, k));
	r("linkno", K(8, 12345678, ring));
	r("linkself", K(8, ring, ring));
	r("cycle", K(8, s, ring));
	r("unlink", K(9, k, ring));
	r("unlink2", K(9, k, ring));
	r("unlinkbad", K(9, k, k));
	r("search", K(10, s, "user", "k1", 0));
	print("found %d\n", K(10, s, "user", "k1", 0) == k);
	r("searchno", K(10, s, "user", "none", 0));
	r("searchtype", K(10, s, "nope", "k1", 0));
	r("searchnotring", K(10, k, "user", "k1", 0));
	r("searchto", K(10, s, "user", "k1", ring));
	n("readring", K(11, ring, b, 100));
	r("clear", K(7, ring));
	n("readring", K(11, ring, b, 100));
	r("clearkey", K(7, k));
	r("request", R("user", "k1", 0, 0));
	print("found %d\n", R("user", "k1", 0, 0) == k);
	r("requestno", R("user", "none", 0, 0));
	r("requestcallout", R("user", "none", "x", 0));
	r("requestnull", R(0, "k1", 0, 0));
	r("requestdest", R("user", "k1", 0, ring));
	r("requestbadtype", R("nope", "k1", 0, 0));
	r("setperm", K(5, k, 0x3f010000));
	r("setpermbad", K(5, k, 0x40000000));
	r("setpermbad2", K(5, k, 0x80));
	desc("k1", k);
	r("noread", K(5, k, 0x3d010000));
	r("readno", K(11, k, b, 10));
	r("perm", K(5, k, 0x3f3f3f3f));
	desc("k1", k);
	r("chown", K(4, k, -1, -1));
	r("chown", K(4, k, 0, 1));
	desc("k1", k);
	r("update", K(2, k, "new", 3));
	memset(b, 0, 100);
	n("read", K(11, k, b, 100));
	print("%s\n", b);
	r("updateno", K(2, k, "", 0));
	r("updatering", K(2, ring, 0, 0));
	r("updatebad", K(2, 12345678, "x", 1));
	r("updatebig", K(2, k, b, 4097));
	r("timeout", K(15, k, 0));
	long e = A("user", "exp", "x", 1, -3);
	r("timeout1", K(15, e, 1));
	r("readexp", K(11, e, b, 10));
	sleep_ms(1100);
	r("readexp", K(11, e, b, 10));
	r("searchexp", K(10, s, "user", "exp", 0));
	r("reqexp", R("user", "exp", 0, 0));
	long rv = A("user", "rev", "x", 1, -3);
	r("revoke", K(3, rv));
	r("readrev", K(11, rv, b, 10));
	r("revoke2", K(3, rv));
	r("reqrev", R("user", "rev", 0, 0));
	r("linkrev", K(8, rv, ring));
	r("addrev", A("user", "rev", "y", 1, -3));
	long iv = A("user", "inv", "x", 1, -3);
	r("invalidate", K(21, iv));
	sleep_ms(100);
	r("readinv", K(11, iv, b, 10));
	n("setreq", K(14, -1));
	n("setreq", K(14, 3));
	n("setreq", K(14, 0));
	r("setreqbad", K(14, 100));
	r("setreqbad", K(14, -2));
	r("descno", K(6, 12345678, b, 10));
	n("desc0", K(6, k, 0, 0));
	r("badop", K(100));
	r("assume", K(16, 0));
	r("assumek", K(16, k));
	r("inst", K(12, k, "x", 1, 0));
	r("neg", K(13, k, 1, 0));
	r("restrict", K(29, k, 0, 0));
	r("move", K(30, k, s, ring, 0));
	n("readring", K(11, ring, b, 100));
	r("movebad", K(30, k, s, ring, 0));
	r("moveback", K(30, k, ring, s, 0));
	r("moveflag", K(30, k, s, ring, 2));
	print("caps %d\n", K(31, b, 2) > 0);
	child = SYS(fork);
	if (!child) {
		print("child same session %d\n", K(0, -3, 0) == s);
		r("childread", K(11, k, b, 10));
		print("own process %d\n", K(0, -2, 1) != p);
		long cs = r("anon", K(1, 0));
		print("anon differs %d\n", cs != s);
		desc("anon", cs);
		r("reqchild", R("user", "k1", 0, 0));
		r("readunposs", K(11, k, b, 10));
		K(5, k, 0x3f010000);
		return 0;
	}
	reap(child);
	child = SYS(fork);
	if (!child) {
		SYS(setgid, 1000);
		SYS(setuid, 1000);
		r("uread", K(11, k, b, 10));
		r("udesc", K(6, k, b, 10));
		r("uchown", K(4, k, 1000, -1));
		r("uupdate", K(2, k, "z", 1));
		long un = r("uadd", A("user", "mine", "x", 1, -4));
		desc("mine", un);
		long made = 0;
		char name[8] = "q000";
		for (; made < 300; made++) {
			name[1] = '0' + made / 100;
			name[2] = '0' + made / 10 % 10;
			name[3] = '0' + made % 10;
			if (failed(A("user", name, "x", 1, -1)))
				break;
		}
		print("quota %d\n", made > 150 && made < 300);
		r("usetperm", K(5, k, 0));
		return 0;
	}
	reap(child);
	return 0;
}
