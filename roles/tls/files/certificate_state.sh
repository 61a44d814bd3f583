#!/bin/sh
# Says in one line whether the certificate in a folder still serves: "ok", or what is wrong with it. Changes nothing.
#
#   certificate_state.sh DIRECTORY OWNER CA_SHA256 RENEW_SECONDS ALTERNATIVE_NAMES RECORD
#
# CA_SHA256 is the SHA-256 of ca.crt as it is to be: the authority that signs first, and what else is trusted; ALTERNATIVE_NAMES is a comma-separated list of DNS:name
# and IP:address in any order. RECORD is the file that tells the checks of the folder: "unrecorded" where that alone is
# missing.
set -eu
directory=$1 owner=$2 ca_sha256=$3 renew_seconds=$4 alternative_names=$5 record=$6

say() {
  echo "$1"
  exit 0
}

sorted() {
  tr ',' '\n' | sed 's/^ *//; s/ *$//; s/^IP Address:/IP:/' | sort
}

cd "$directory" 2>/dev/null || say "there is no $directory"
for file in server.key server.crt ca.crt; do
  [ -s "$file" ] || say "$file is missing"
done

[ "$(stat -c '%U %a' server.key)" = "$owner 600" ] || say "server.key is not $owner's alone"
[ "$(sha256sum < ca.crt)" = "$ca_sha256  -" ] || say "ca.crt is not what is to be trusted"
openssl x509 -in ca.crt | openssl verify -CAfile /dev/stdin server.crt > /dev/null 2>&1 \
  || say "server.crt is not signed by the first authority of ca.crt, or has expired"
openssl x509 -in server.crt -noout -checkend "$renew_seconds" > /dev/null || say "server.crt ends soon"
[ "$(openssl pkey -in server.key -pubout)" = "$(openssl x509 -in server.crt -noout -pubkey)" ] \
  || say "server.crt belongs to another key"

names=$(openssl x509 -in server.crt -noout -ext subjectAltName | sed 1d | sorted)
[ "$names" = "$(echo "$alternative_names" | sorted)" ] || say "server.crt has other names"
[ "$(cat "$record" 2>/dev/null)" = "$directory" ] || say unrecorded
say ok
