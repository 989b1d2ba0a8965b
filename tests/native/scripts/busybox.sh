# busybox: ash with pipes, subshells, here-documents, traps and its own tools
busybox ash <<'END'
set -e
greet() { local name=${1:-world}; echo "hello $name"; }
greet | busybox tr a-z A-Z
( cd / && pwd; x=inner ); echo "${x-unset}"
busybox cat <<-TEXT | busybox sed 's/two/2/' | busybox awk '{ n += NF } END { print n, NR }'
	one two three
	two
TEXT
trap 'echo got TERM' TERM
kill -TERM $$
trap 'echo leaving' EXIT
i=0
while [ $i -lt 5 ]; do i=$((i + 1)); [ $i = 3 ] && continue; echo -n "$i "; done
echo
set -- a 'b c' d
for word; do echo "<$word>"; done
case abc in a?c) echo matches;; esac
sleep 1 & first=$!
wait $first && echo "done $?"
mkdir -p tree/sub && echo text > tree/sub/file
busybox tar cf - tree | busybox gzip | busybox gunzip | busybox tar tf -
busybox find tree -type f -exec busybox wc -c {} \;
busybox seq 1 20 | busybox xargs -n 7 echo
printf 'b\na\nc\n' | busybox sort | busybox md5sum
busybox dc -e '2 100 ^ p'
(exit 3) || echo "status $?"
END
echo "ended $?"
