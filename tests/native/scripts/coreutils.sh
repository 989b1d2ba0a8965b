# sort: some forty tools of coreutils
seq 100 > s
sort -rn s | head -1
wc -l < s
cut -c1 s | uniq -c | head -2
md5sum s
mkdir -p d/e
cp s d/e
mv d d2
find d2 | sort
ln -s d2/e/s l
readlink -f l > /dev/null
stat -c %s s
touch -d 2001-02-03 s
date -u -r s +%F
tac s | head -1
tr a-c A-C < /etc/passwd | head -1
od -c s | head -1
base64 s | head -1
split -l 50 s p
cat paa pab | cmp - s
rm -r d2 p*
dd if=/dev/zero of=z bs=1k count=3 status=none
truncate -s 1M z
du -k z > /dev/null
chmod 600 s
stat -c %a s
factor 1234567
timeout 1 true
echo $?
expr 6 \* 7
numfmt --to=iec 4096
nl s | tail -1
comm -12 s s | wc -l
shuf -i 1-1
env -i A=b env
id -u
