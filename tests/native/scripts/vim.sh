# vim: edits a file by script
printf 'a\nb\n' > v
vim -es -c '%s/a/X/' -c wq v
cat v
