/* SPDX-License-Identifier: GPL-2.0-or-later */
// needs: root, namespaces
/* ramfs: what statfs and stat say of it, and its only option. */
#include "native.h"
#include <sys/vfs.h>

static const char *options[] = { "", "mode=0700", "mode=08", "foo=bar,mode=711", "size=4k" };

int main(void)
{
	struct statfs fs;
	struct stat st;

	MUST(unshare, CLONE_NEWNS);
	MUST(mount, "none", "/", NULL, 1 << 14 | 1 << 18 /* MS_REC|MS_PRIVATE */, NULL);
	MUST(mkdir, "r", 0755);
	for (u32 i = 0; i < COUNT(options); i++) {
		long done = SYS(mount, "r", "r", "ramfs", 0, options[i]);

		print("\"%s\": %s\n", options[i], result_name(done));
		if (done)
			continue;
		MUST(statfs, "r", &fs);
		print("type %lx, %lu blocks of %lu, %lu files\n", (u64)fs.f_type, (u64)fs.f_blocks, (u64)fs.f_bsize,
		      (u64)fs.f_files);
		put("r/a", "text");
		MUST(stat, "r", &st);
		print("mode %o, size %ld\n", st.st_mode, st.st_size);
		MUST(umount2, "r", 0);
	}
	return 0;
}
