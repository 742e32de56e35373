// SPDX-License-Identifier: GPL-2.0
/*
 * jostle - a host module for the program life: a thread loses its CPU wherever KVM switches CET state
 *
 * Probes are on the functions in hooks[], in some on each instruction. When the thread whose id is in
 * /sys/module/jostle/parameters/victim runs into one, whoever reads /dev/jostle on that CPU wakes up, and gets a mask
 * of the functions. The reader has a real-time priority, so it has the CPU as soon as preemption is on.
 * /sys/module/jostle/parameters/hooks lists the functions that were found, and how often the thread ran into them.
 *
 * Losing the CPU unloads the guest's state, so an earlier probe hides a fault that shows only while the state is
 * loaded. With /sys/module/jostle/parameters/in_turn, the thread keeps its CPU until it reaches an instruction at which
 * it has not yet lost the CPU first; it loses it there, and at in_turn places in all. firsts counts these instructions.
 */
#include <linux/irq_work.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define MAX_PROBES 1024

struct hook;
struct probe {
	struct kprobe kprobe;
	struct hook *hook;
	atomic_t left;
	/* Has been the first one. */
	bool was_first;
};

static struct probe *probes;
static int nprobes;

/* Of the two vendors' modules, one is loaded. */
static struct hook {
	const char *name;
	/* A probe on each instruction, not only on the first. */
	bool all;
	atomic_t hits;
	bool there;
} hooks[] = {
	{ "kvm_intel:__kvm_cet_load" },
	{ "kvm_amd:__kvm_cet_load" },
	{ "kvm_intel:__kvm_cet_save" },
	{ "kvm_amd:__kvm_cet_save" },
	{ "kvm_intel:kvm_cet_get_msr" },
	{ "kvm_amd:kvm_cet_get_msr" },
	{ "kvm_intel:kvm_cet_set_msr" },
	{ "kvm_amd:kvm_cet_set_msr" },
	{ "kvm_intel:kvm_cet_go_live", true },
	{ "kvm_amd:kvm_cet_go_live", true },
	{ "kvm_intel:kvm_cet_intercept_switched" },
	{ "kvm_amd:kvm_cet_intercept_switched" },
	{ "kvm_intel:kvm_cet_vcpu_reset" },
	{ "kvm_amd:kvm_cet_vcpu_reset" },
	{ "kvm_intel:kvm_cet_vcpu_after_set_cpuid" },
	{ "kvm_amd:kvm_cet_vcpu_after_set_cpuid" },
	{ "kvm_intel:kvm_cet_enter_smm" },
	{ "kvm_amd:kvm_cet_enter_smm" },
	{ "kvm_intel:kvm_cet_leave_smm" },
	{ "kvm_amd:kvm_cet_leave_smm" },
	{ "kvm_intel:vmx_cet_read_vmcs" },
	{ "kvm_intel:vmx_cet_set_constant_host_state" },
	{ "kvm_intel:vmx_prepare_switch_to_guest" },
	{ "kvm_intel:vmx_vcpu_load" },
	{ "kvm_intel:vmx_vcpu_put" },
	{ "kvm_intel:vmx_vcpu_free" },
	{ "kvm_amd:svm_prepare_switch_to_guest" },
	{ "kvm_amd:svm_prepare_host_switch" },
	{ "kvm_amd:svm_vcpu_load" },
	{ "kvm_amd:svm_vcpu_put" },
	{ "kvm_amd:svm_vcpu_free" },
	{ "kvm:kvm_arch_vcpu_load" },
	{ "kvm:kvm_arch_vcpu_put" },
	{ "kvm:kvm_sched_in" },
	{ "kvm:kvm_sched_out" },
	{ "kvm:kvm_load_guest_xsave_state" },
	{ "kvm:kvm_load_host_xsave_state" },
	{ "kvm:kvm_arch_vcpu_ioctl_run" },
	/* Of one kernel or the other; elsewhere the compiler makes them part of their callers. */
	{ "kvm_intel:kvm_cet_set_switched", true },
	{ "kvm_amd:kvm_cet_set_switched", true },
	{ "kvm_intel:kvm_cet_set_state", true },
	{ "kvm_amd:kvm_cet_set_state", true },
	{ "kvm_intel:kvm_cet_xss_changed", true },
	{ "kvm_amd:kvm_cet_xss_changed", true },
	{ "kvm_intel:kvm_cet_vcpu_free" },
	{ "kvm_amd:kvm_cet_vcpu_free" },
	{ "fpu_swap_kvm_fpstate" },
};

/*
 * How often the thread loses its CPU at each place, after its id has been written. Without a limit it would not make
 * progress: it runs into some of the probes whenever it gets a CPU.
 */
static int limit = 4;
module_param(limit, int, 0600);
MODULE_PARM_DESC(limit, "how often at each place");

static int in_turn;
module_param(in_turn, int, 0600);
MODULE_PARM_DESC(in_turn, "at how many places, from another one each time; 0: at all of them");

static int firsts;
module_param(firsts, int, 0400);
MODULE_PARM_DESC(firsts, "how many places have been the first one");

/* Whether the thread has not reached its first place yet; and how many places are left. */
static bool before_first;
static int places;

static int victim;

static int set_victim(const char *value, const struct kernel_param *param)
{
	int i, r = param_set_int(value, param);

	before_first = in_turn;
	places = in_turn ?: INT_MAX;
	for (i = 0; i < nprobes; i++)
		atomic_set(&probes[i].left, limit);
	return r;
}

static const struct kernel_param_ops victim_ops = { .set = set_victim, .get = param_get_int };
module_param_cb(victim, &victim_ops, &victim, 0600);
MODULE_PARM_DESC(victim, "the thread");

/* Bit N: the thread ran into hook N on that CPU, and its reader is to wake up. */
static DEFINE_PER_CPU(atomic64_t, pending);
static DEFINE_PER_CPU(struct irq_work, work);
static DEFINE_PER_CPU(wait_queue_head_t, readers);

/* A lock of the scheduler may be held, so this cannot be done here, but in a separate interrupt. */
static int hit(struct kprobe *kprobe, struct pt_regs *regs)
{
	struct probe *probe = container_of(kprobe, struct probe, kprobe);
	struct hook *hook = probe->hook;

	if (current->pid != READ_ONCE(victim))
		return 0;
	if (!kprobe->offset)
		atomic_inc(&hook->hits);
	if (before_first) {
		if (!hook->all || probe->was_first)
			return 0;
		probe->was_first = true;
		before_first = false;
		firsts++;
	}
	if (places && atomic_dec_if_positive(&probe->left) >= 0) {
		places--;
		atomic64_or(BIT_ULL(hook - hooks), this_cpu_ptr(&pending));
		irq_work_queue(this_cpu_ptr(&work));
	}
	return 0;
}

static void wake_reader(struct irq_work *unused)
{
	wake_up_interruptible(this_cpu_ptr(&readers));
}

/* The reader is bound to its CPU. */
static ssize_t jostle_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	int cpu = raw_smp_processor_id(), r;
	u64 mask;

	if (size != sizeof(mask))
		return -EINVAL;
	r = wait_event_interruptible(per_cpu(readers, cpu), atomic64_read(&per_cpu(pending, cpu)));
	if (r)
		return r;
	mask = atomic64_xchg(&per_cpu(pending, cpu), 0);
	return copy_to_user(to, &mask, sizeof(mask)) ? -EFAULT : sizeof(mask);
}

static const struct file_operations jostle_fops = { .owner = THIS_MODULE, .read = jostle_read };
static struct miscdevice device = { .minor = MISC_DYNAMIC_MINOR, .name = "jostle", .fops = &jostle_fops };

static int get_hooks(char *to, const struct kernel_param *param)
{
	int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(hooks); i++)
		if (hooks[i].there)
			n += scnprintf(to + n, PAGE_SIZE - n, "%d %s %d\n", i, hooks[i].name,
				       atomic_read(&hooks[i].hits));
	return n;
}

static const struct kernel_param_ops hooks_ops = { .get = get_hooks };
module_param_cb(hooks, &hooks_ops, NULL, 0400);
MODULE_PARM_DESC(hooks, "number, name and hits of each function");

static void remove_hooks(void)
{
	int i;

	for (i = 0; i < nprobes; i++)
		unregister_kprobe(&probes[i].kprobe);
	for_each_possible_cpu(i)
		irq_work_sync(per_cpu_ptr(&work, i));
	kvfree(probes);
}

static int add_probe(struct hook *hook, unsigned int offset)
{
	struct probe *probe = &probes[nprobes];
	int r;

	if (nprobes == MAX_PROBES)
		return -ENOSPC;
	probe->hook = hook;
	probe->kprobe = (struct kprobe) { .symbol_name = hook->name, .offset = offset, .pre_handler = hit };
	r = register_kprobe(&probe->kprobe);
	/* What was given is what get_hooks() counts by, wherever an ENDBR64 puts it. */
	probe->kprobe.offset = offset;
	nprobes += !r;
	return r;
}

static void add_hook(struct hook *hook)
{
	char symbol[KSYM_SYMBOL_LEN];
	unsigned long size = 0, offset;
	char *p;
	int r = add_probe(hook, 0);

	hook->there = !r;
	if (r) {
		pr_info("jostle: %s: %d\n", hook->name, r);
		return;
	}
	if (!hook->all)
		return;
	/* "name+0xOFFSET/0xSIZE [module]" */
	sprint_symbol(symbol, (unsigned long)probes[nprobes - 1].kprobe.addr);
	p = strchr(symbol, '/');
	if (p) {
		p[1 + strcspn(p + 1, " ")] = '\0';
		if (kstrtoul(p + 1, 16, &size))
			size = 0;
	}
	/* The kernel rejects an address that is not the start of an instruction. */
	for (offset = 5; offset < size; offset++)
		add_probe(hook, offset);
}

static int __init jostle_init(void)
{
	const bool amd = boot_cpu_data.x86_vendor == X86_VENDOR_AMD;
	int i, r;

	probes = kvcalloc(MAX_PROBES, sizeof(*probes), GFP_KERNEL);
	if (!probes)
		return -ENOMEM;
	for_each_possible_cpu(i) {
		init_waitqueue_head(per_cpu_ptr(&readers, i));
		init_irq_work(per_cpu_ptr(&work, i), wake_reader);
	}
	/* Looking for a function that does not exist takes the emulated host many seconds. */
	for (i = 0; i < ARRAY_SIZE(hooks); i++)
		if (!strstarts(hooks[i].name, amd ? "kvm_intel:" : "kvm_amd:"))
			add_hook(&hooks[i]);
	pr_info("jostle: %d probes\n", nprobes);
	r = misc_register(&device);
	if (r)
		remove_hooks();
	return r;
}

static void __exit jostle_exit(void)
{
	misc_deregister(&device);
	remove_hooks();
}

module_init(jostle_init);
module_exit(jostle_exit);
MODULE_DESCRIPTION("A thread loses its CPU where KVM switches CET state");
MODULE_LICENSE("GPL");
