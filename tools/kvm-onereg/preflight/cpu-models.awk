# SPDX-License-Identifier: GPL-2.0
#
# awk -f cpu-models.awk cpu-models.txt >cpu-models.inc: entries of cpu_models[]
function finish() {
	if (name)
		printf "\t{ \"%s\", \"%s\", %d, %d, \"%s\", \"%s\" },\n", name, vendor, qemu, libvirt, substr(features, 2), more
}
/^#/ { next }
$1 == "model" {
	finish()
	name = $2
	vendor = $3 == "any" ? "" : $3
	qemu = $4
	libvirt = $5
	features = more = ""
	next
}
$1 == "libvirt" {
	sub(/^libvirt /, "")
	more = $0
	next
}
{
	for (i = 1; i <= NF; i++)
		features = features " " $i
}
END { finish() }
