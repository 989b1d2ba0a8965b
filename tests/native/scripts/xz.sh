# xz: compresses, with tar and gzip
seq 3000 > s
tar c s | xz | xz -d | tar xO | tail -1
gzip -9n < s | gunzip | cmp - s
xz -k s
xz -t s.xz
echo $?
