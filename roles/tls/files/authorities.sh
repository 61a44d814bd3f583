#!/bin/sh
# Prints what this host's certificates of an internal authority were signed by, one line a folder: the folder, a space, and the
# SHA-256 fingerprints of the authorities that it trusts with commas between them, the one that signed server.crt first.
# A certificate that was brought along is its owner's concern: authorities of another name are left out.
#
#   authorities.sh RECORDS NAME      (the folder whose files name the folders with certificates; how internal ones are called)
set -eu
records=$1 name=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fingerprint() {
  openssl x509 -in "$1" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr 'A-F' 'a-f'
}

for record in "$records"/*; do
  [ -f "$record" ] || continue
  directory=$(cat "$record")
  [ -s "$directory/ca.crt" ] && [ -s "$directory/server.crt" ] || continue
  rm -f "$scratch"/*
  awk -v to="$scratch" '/BEGIN CERTIFICATE/ { number++ } number { print > sprintf("%s/%03d.crt", to, number) }' "$directory/ca.crt"
  case $(openssl x509 -in "$scratch/001.crt" -noout -subject -nameopt multiline) in
    *"= $name"*) ;;
    *) continue ;;
  esac
  signer='' others=''
  for authority in "$scratch"/*.crt; do
    if [ -z "$signer" ] && openssl verify -no_check_time -CAfile "$authority" "$directory/server.crt" > /dev/null 2>&1; then
      signer=$(fingerprint "$authority")
    else
      others=$others,$(fingerprint "$authority")
    fi
  done
  # One that signed by none of them has lost its own: what it trusts first is what it was made for.
  if [ -n "$signer" ]; then echo "$directory $signer$others"; else echo "$directory ${others#,}"; fi
done
