# dpkg: asks the database of packages
dpkg -S /bin/ls
dpkg-query -W -f '${Package}\n' coreutils
dpkg --compare-versions 1.2 lt 1.10
echo $?
