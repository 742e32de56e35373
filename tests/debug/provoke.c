// SPDX-License-Identifier: GPL-2.0
/*
 * A module that does what the debug kernel must report, so that its silence means something:
 * insmod provoke.ko what=kasan, and so on.
 */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>

static char *what = "";
module_param(what, charp, 0);
MODULE_PARM_DESC(what, "kasan, ubsan, preempt, sleep, list or lockdep");

static DEFINE_MUTEX(mutex);
static DEFINE_SPINLOCK(lock_a);
static DEFINE_SPINLOCK(lock_b);

/* The compiler shall not see what will happen. */
static volatile int forty = 40;

static void write_behind_an_object(void)
{
	volatile char *p = kmalloc(24, GFP_KERNEL);

	if (p)
		p[forty - 14] = 1;
	kfree((void *)p);
}

static void sleep_with_a_spinlock(void)
{
	spin_lock(&lock_a);
	mutex_lock(&mutex);
	mutex_unlock(&mutex);
	spin_unlock(&lock_a);
}

static void add_to_a_broken_list(void)
{
	struct list_head head, entry;

	INIT_LIST_HEAD(&head);
	head.next = &entry;
	entry.prev = NULL;
	list_add(&entry, &head);
}

static void take_locks_in_both_orders(void)
{
	spin_lock(&lock_a);
	spin_lock(&lock_b);
	spin_unlock(&lock_b);
	spin_unlock(&lock_a);

	spin_lock(&lock_b);
	spin_lock(&lock_a);
	spin_unlock(&lock_a);
	spin_unlock(&lock_b);
}

static int __init provoke_init(void)
{
	if (!strcmp(what, "kasan"))
		write_behind_an_object();
	else if (!strcmp(what, "ubsan"))
		pr_info("provoke: %d\n", 1 << forty);
	else if (!strcmp(what, "preempt"))
		pr_info("provoke: CPU %d\n", smp_processor_id());
	else if (!strcmp(what, "sleep"))
		sleep_with_a_spinlock();
	else if (!strcmp(what, "list"))
		add_to_a_broken_list();
	else if (!strcmp(what, "lockdep"))
		take_locks_in_both_orders();
	else
		return -EINVAL;
	return 0;
}

static void __exit provoke_exit(void)
{
}

module_init(provoke_init);
module_exit(provoke_exit);
MODULE_DESCRIPTION("Faults that a debug kernel reports");
MODULE_LICENSE("GPL");
