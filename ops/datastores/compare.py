"""Comparing two fingerprints: what differs, object by object, and how."""

from __future__ import annotations

COMPARE = r"""
LC_ALL=C awk -F '\t' -v now="$(date +%s)" -v source="$W/fingerprint" -v copy="$W/copy" -v told="$W/differences" '
function next_source() { more = (getline line <source) > 0; if (more) { split_line(line, s); entries++; if (counted(s[1])) rows += s[3] } }
function next_copy() { mine = (getline line <copy) > 0; if (mine) split_line(line, c) }
# The third field of other kinds counts something else: bytes of a large object.
function counted(kind) { return kind ~ /^(table|collection|key|file|object)$/ }
function split_line(text, into) { split(text, into, "\t"); into[0] = into[1] "\t" into[2] }
# A sequence obeys no snapshot: its value lies between what it was before the dump and after.
function between(range, value,  ends, low, high, is) {
  if (split(range, ends, /\.\./) != 2) return 0
  low = ends[1] + 0; high = ends[2] + 0; is = value + 0
  return value == ends[1] || value == ends[2] || (low <= is && is <= high) || (high <= is && is <= low)
}
# What had an end, and has reached it since, need not be there.
function over(hash) { return match(hash, /@[0-9]+$/) && substr(hash, RSTART + 1) / 1000 <= now }
function differ(line, how, was, is,  shown) {
  count++
  split(line, shown, "\t")
  printf "%s %s: %s%s\n", shown[1], shown[2], how, (was == "" || is == "" ? "" : " (" was " in the source, " is " in the copy)")
  printf "%s\t%s\t%s\t%s\n", line, how, was, is >told
}
function values(how) {
  if (how ~ /^rows/) differ(s[0], how, s[3], c[3])
  else if (s[1] == "setting") differ(s[0], how, "-", "-")
  else differ(s[0], how, s[4], c[4])
}
BEGIN {
  printf "" >told
  next_source(); next_copy()
  if (!more) { print "the fingerprint of the source is empty: nothing can be compared"; exit 1 }
  while (more || mine) {
    if (!mine || (more && s[0] < c[0])) { if (!over(s[4])) differ(s[0], "missing", "", ""); next_source(); continue }
    if (!more || c[0] < s[0]) { differ(c[0], "extra", "", ""); next_copy(); continue }
    if (s[3] != c[3] && counted(s[1])) values(c[3] + 0 < s[3] + 0 ? "rows missing" : "rows extra")
    else if ((s[3] != c[3] || s[4] != c[4]) && !(s[1] == "sequence" && between(s[4], c[4]))) values("changed")
    next_source(); next_copy()
  }
  if (count) { printf "%d of %d entries differ\n", count, entries; exit 1 }
  printf "all %d entries are the same, %d rows\n", entries, rows
}' </dev/null
""".strip("\n")
"""Compares ``$W/fingerprint`` (the source's) with ``$W/copy`` (the copy's), both sorted by ``LC_ALL=C sort``.

Prints a line per difference for people, and writes ``kind<TAB>name<TAB>how<TAB>source<TAB>copy`` to ``$W/differences``;
``how`` is one of missing, extra, rows missing, rows extra, changed. Exits 1 when anything differs, or when there is
nothing to compare.
"""
