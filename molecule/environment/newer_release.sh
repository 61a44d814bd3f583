#!/usr/bin/env bash
# On a host: offers apt a newer release of PostgreSQL's server, made of the newest that there is.
#   newer_release.sh MAJOR
# The version stands in each of its programs, which would not run together otherwise.
set -euo pipefail
shopt -s inherit_errexit

package=postgresql-$1
version=$(apt-cache madison "$package" | awk 'NR == 1 { print $3 }')
newer=${version%?}9
mkdir --parents /srv/newer
cd /srv/newer
apt-get --quiet download "$package=$version"
dpkg-deb --raw-extract ./*.deb unpacked
rm ./*.deb
sed --in-place "s/^Version: .*/Version: $newer/" unpacked/DEBIAN/control
grep --recursive --files-with-matches --null --fixed-strings "$version" unpacked/usr/lib | xargs --null sed --in-place "s/$version/$newer/g"
(cd unpacked && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | xargs --null md5sum >DEBIAN/md5sums)
dpkg-deb --build unpacked .
rm --recursive unpacked
{
  dpkg-deb --field ./*.deb
  printf 'Filename: %s\nSize: %s\nSHA256: %s\n' ./*.deb "$(stat --format=%s ./*.deb)" "$(sha256sum ./*.deb | cut --delimiter=' ' --fields=1)"
} >Packages
echo 'deb [trusted=yes] file:/srv/newer ./' >/etc/apt/sources.list.d/newer.list
apt-get --quiet --quiet update
echo "$newer"
