#!/bin/sh
# Fills the volume $1 with files that a careless copy loses; the same in every lab. With the last one there it does nothing.
set -eu
cd "$1"
[ ! -e whole ] || exit 0
umask 022
find . -mindepth 1 -delete
mkdir -p 'a folder' 'a folder/deeper/and deeper' empty 'Grüße' private
printf 'plain\n' >plain.txt
: >'empty file'
printf 'blanks\n' >'a folder/  two blanks first, one last '
printf 'newline\n' >'a folder/one
two'
printf 'umlauts\n' >'Grüße/Straße 你好 🦆.txt'
printf 'quotes\n' >"it's a \"quote\" and a \\ and \$HOME and \`x\`"
printf 'option\n' >./-rf
printf 'glob\n' >'a folder/*'
printf 'hidden\n' >.hidden
printf 'deep\n' >'a folder/deeper/and deeper/down'
printf 'key\n' >private/key
seq 1 300000 >numbers
seq 1 9000 | gzip -n >numbers.gz
truncate -s 3M sparse
printf 'end' >>sparse
ln plain.txt 'Grüße/hard link to plain.txt'
ln -s plain.txt 'a link'
ln -s '/nowhere/at all' 'a folder/dangling'
ln -s '../empty' 'a folder/to a folder'
printf '#!/bin/sh\necho ran\n' >run.sh
chmod 755 run.sh
chmod 640 numbers
chmod 000 'empty file'
chmod 4711 numbers.gz
chmod 700 private
chmod 600 private/key
chmod 1777 empty
chown 1000:1000 private private/key
chown 65534:100 numbers
chown -h 4711:4712 'a link'
find . -depth -exec touch -h -d '2025-03-30T01:02:03.123456789Z' {} +
touch -d 1999-12-31T23:59:59Z run.sh
touch -d '2025-03-30T01:02:03.123456789Z' whole .
