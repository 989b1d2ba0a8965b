# sed: edits and counts lines
sed -n 's/root/ROOT/p;$=' /etc/passwd
printf 'a\nb\n' | sed 'N;s/\n/+/;y/ab/AB/'
