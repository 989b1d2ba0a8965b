# openssl: digests, ciphers, keys
echo a | openssl dgst -sha256
echo hi | openssl enc -aes-256-cbc -pbkdf2 -k x -S 0102030405060708 | md5sum
openssl genrsa 512 2> /dev/null | head -1
