# find: walks a tree by name, kind, size and time, with xargs, tar and diff
mkdir -p a/b c && printf 'one\n' > a/1 && printf 'twotwo\n' > a/b/2 && ln -s ../a c/link && touch -d 2020-01-01 c/old
find . | sort
find . -newer c/old -type f -printf '%P %s %y\n' | sort
find . -type l -printf '%p -> %l\n'
find . -size +5c -type f -print0 | xargs -0 wc -c
find a -depth -name '?' -execdir echo {} +
tar cf x.tar a c && mkdir out && tar xf x.tar -C out && diff -r a out/a && echo same
tar tvf x.tar | awk '{ print $1, $3, $6 }'
printf 'ONE\n' > out/a/1
diff -u a/1 out/a/1 | tail -n +3
diff -r a out/a > d.patch; patch -p0 -s < d.patch; cmp a/1 out/a/1 && echo patched
stat -c '%A %h' a a/1 c/link
du -a --apparent-size --block-size=1 a/1
