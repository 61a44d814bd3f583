#!/bin/sh
# Prints what this host's certificates were signed by, one line a folder: the folder, a space, and the SHA-256 fingerprints
# of the authorities that it trusts, the signing one first, with commas between them. Nothing on a host that has none.
#
#   authorities.sh RECORDS      (the folder whose files name the folders with certificates)
set -eu
records=$1

for record in "$records"/*; do
  [ -f "$record" ] || continue
  directory=$(cat "$record")
  [ -s "$directory/ca.crt" ] && [ -s "$directory/server.crt" ] || continue
  # Every certificate of the file goes through openssl by itself.
  fingerprints=$(awk '
    /BEGIN CERTIFICATE/ { text = "" }
    { text = text $0 "\n" }
    /END CERTIFICATE/ {
      command = "openssl x509 -noout -fingerprint -sha256"
      printf "%s", text | command
      close(command)
    }' "$directory/ca.crt" | sed 's/.*=//; s/://g' | tr 'A-F\n' 'a-f,')
  echo "$directory ${fingerprints%,}"
done
