# SPDX-License-Identifier: GPL-2.0
#
# From lines "KERNEL SET CALL COUNT", a line "ok TEXT" or "not ok TEXT" for each thing that was to be reached.
{ n[$1, $2, $3] = $4 }

function above(k, s, call) { return n[k, s, call] - n[k, s, "unknown_ioctl"] }
function verdict(good, text) { print (good ? "ok" : "not ok") " " text }

function native_cost(k, call,	ours, native) {
	ours = above(k, "ours", call)
	native = above("native", "native", call)
	verdict(n[k, "ours", call] > 0 && native > 0 && ours <= native,
		k ": " call " costs no more above an unknown ioctl than natively (" ours ", natively " native ")")
}

function same(k, call) {
	verdict(n[k, "plain", call] > 0 && n[k, "ours", call] == n[k, "plain", call],
		k ": " call " is the same without our sources (" n[k, "ours", call] ", " n[k, "plain", call] ")")
}

function fewer(k, call,	percent) {
	percent = 100 - 100 * n[k, "ours", call] / n[k, "ours", "GET_MSRS(1)"]
	verdict(n[k, "ours", call] > 0 && percent >= 35,
		sprintf("%s: %s takes at least 35 %% fewer instructions than KVM_GET_MSRS with one MSR (%.1f %%)", k, call, percent))
}

END {
	for (i = split("6.1 6.12", kernels, " "); i > 0; i--) {
		k = kernels[i]
		native_cost(k, "GET_ONE_REG")
		native_cost(k, "SET_ONE_REG")
		fewer(k, "GET_ONE_REG")
		same(k, "100_VM_exits_CPUID")
		same(k, "RUN_to_IO_exit")
		same(k, "load_put_RUN")
	}
}
