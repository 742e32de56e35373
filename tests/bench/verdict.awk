# SPDX-License-Identifier: GPL-2.0
#
# Reads lines "KERNEL SET CALL COUNT", and prints a line "ok TEXT" or "not ok TEXT" for each requirement. TEXT begins
# with "KERNEL: CALL" or "KERNEL SET: CALL", and ends with the counts in parentheses: tests/bench/page reads it.
{ n[$1, $2, $3] = $4 }

function above(k, s, call) { return n[k, s, call] - n[k, s, "unknown_ioctl"] }
function verdict(good, text) { print (good ? "ok" : "not ok") " " text }

function native_cost(k, call,	ours, native) {
	ours = above(k, "ours", call)
	native = above("native", "native", call)
	verdict(n[k, "ours", call] > 0 && native > 0 && ours <= native,
		k ": " call " costs no more than natively, above an unknown ioctl (" ours ", natively " native ")")
}

# Loading and putting a vCPU costs a comparison, a branch that is not taken, and what the compiler saves for the case
# that it is taken. Each KVM_RUN puts the vCPU, but loads it only if the guest runs.
function branches(k, call, most,	plain) {
	plain = n[k, "plain", call]
	verdict(plain > 0 && n[k, "ours", call] > 0 && n[k, "ours", call] - plain <= most,
		k ": " call " costs at most three more instructions per load and per put of the vCPU (" n[k, "ours", call] \
		", without " plain ")")
}

# On the host svm, the CPU does not report where an intercepted instruction ends (NRIPS). Therefore KVM decodes it, and
# checks whether it is a branch that CET could restrict.
function decoded(k, call,	more) {
	more = n[k, "ours", call] - n[k, "plain", call]
	verdict(n[k, "plain", call] > 0 && n[k, "ours", call] > 0 && more <= 500,
		k ": " call " costs at most 5 more instructions each, where KVM decodes the instruction (" \
		n[k, "ours", call] ", without " n[k, "plain", call] ")")
}

function fewer(k, call,	percent) {
	percent = 100 - 100 * n[k, "ours", call] / n[k, "ours", "GET_MSRS(1)"]
	verdict(n[k, "ours", call] > 0 && percent >= 35,
		sprintf("%s: %s costs at least 35 %% less than KVM_GET_MSRS with one MSR (%.1f %%)", k, call, percent))
}

# ---- The hosts with CET: P is vmx or svm-cet

# Their clock is sometimes off by one instruction, or by a few in a hundred VM exits
function same_cet(p, k, set, call,	plain, most, more) {
	plain = n[k, p "-plain", call]
	most = call ~ /^100_/ ? 20 : 1
	more = n[k, set, call] - plain
	verdict(plain > 0 && n[k, set, call] > 0 && more <= most && more >= -most,
		k " " set ": " call " costs the same without our sources (" n[k, set, call] ", without " plain ")")
}

# Guest state is loaded and saved once; both cost a comparison and a branch that is not taken
function two_branches(p, k, set, call,	plain) {
	plain = n[k, p "-plain", call]
	verdict(plain > 0 && n[k, set, call] > 0 && n[k, set, call] - plain <= 5,
		k " " set ": " call " costs at most two more instructions per load and per put of the vCPU (" \
		n[k, set, call] ", without " plain ")")
}

function native_cet_cost(p, k, call,	set, ours, native) {
	set = p "-on"
	ours = n[k, set, call] - n[k, set, "CET_unknown_ioctl"]
	native = n["native", p "-native", call] - n["native", p "-native", "CET_unknown_ioctl"]
	verdict(n[k, set, call] > 0 && native > 0 && ours <= native,
		k " " set ": " call " costs no more than natively, above an unknown ioctl (" ours ", natively " native ")")
}

function accesses(p, k, use, most, most_xss,	set, sum, xss) {
	set = p "-on"
	sum = n[k, set, use "_MSRs_read"] + n[k, set, use "_MSRs_written"]
	xss = n[k, set, use "_MSRs_XSS"]
	verdict(((k, set, use "_MSRs_read") in n) && sum <= most,
		k " " set ": " use ": at most " most " accesses to CET MSRs in a KVM_RUN of 101 VM exits (" sum ")")
	verdict(((k, set, use "_MSRs_XSS") in n) && xss <= most_xss,
		k " " set ": " use ": at most " most_xss " writes of XSS (" xss ")")
}

# USER, SUPERVISOR: the allowed number of accesses to CET MSRs if a guest uses the shadow stacks of user mode, or all.
# BELOW: the allowed number of writes of XSS for a guest whose XSS lacks a bit that the host's XSS has
function with_cet(p, k, user, supervisor, below,	i, sets, reg) {
	for (i = split("GUEST_SSP S_CET U_CET PL0_SSP", reg, " "); i > 0; i--) {
		native_cet_cost(p, k, "CET_GET_ONE_REG_" reg[i])
		native_cet_cost(p, k, "CET_SET_ONE_REG_" reg[i])
	}
	# On the host svm-cet, the timer interrupts KVM_RUN, so that the vCPU is loaded twice. The host svm tests the
	# cost of KVM_RUN with kvm_amd.
	if (p == "svm-cet")
		return
	for (i = split("ours on", sets, " "); i > 0; i--) {
		same_cet(p, k, p "-" sets[i], "100_VM_exits_CPUID")
		same_cet(p, k, p "-" sets[i], "load_put_RUN")
		two_branches(p, k, p "-" sets[i], "RUN_to_IO_exit")
	}
	accesses(p, k, "CET_unused", 0, below)
	accesses(p, k, "CET_used", user, below)
	accesses(p, k, "CET_used_with_XSS", user, 2)
	accesses(p, k, "CET_supervisor", supervisor, 2)
}

END {
	for (i = split("6.1 6.12", kernels, " "); i > 0; i--) {
		k = kernels[i]
		native_cost(k, "GET_ONE_REG")
		native_cost(k, "SET_ONE_REG")
		fewer(k, "GET_ONE_REG")
		decoded(k, "100_VM_exits_CPUID")
		branches(k, "RUN_to_IO_exit", 6)
		branches(k, "load_put_RUN", 3)
	}
	for (i = split("vmx svm-cet", hosts, " "); i > 0; i--) {
		# make check counts on vmx only
		if (hosts[i] != "vmx" && !(("6.1", hosts[i] "-plain", "unknown_ioctl") in n))
			continue
		with_cet(hosts[i], "6.1", 5, 13, 0)
		with_cet(hosts[i], "6.12", 1, 9, 202)
	}
}
