// SPDX-License-Identifier: GPL-2.0
/*
 * A module that does what the debug kernel must report, so that its silence means something:
 * insmod provoke.ko what=bounds, and so on.
 */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/timer.h>

static char *what = "";
module_param(what, charp, 0);
MODULE_PARM_DESC(what, "bounds, freed, ubsan, preempt, sleep, list, object, leak or lockdep");

static DEFINE_MUTEX(mutex);
static DEFINE_SPINLOCK(lock_a);
static DEFINE_SPINLOCK(lock_b);

/* Hide from the compiler what will happen. */
static volatile int forty = 40;

static void write_behind_an_object(void)
{
	volatile char *p = kmalloc(24, GFP_KERNEL);

	if (p)
		p[forty - 14] = 1;
	kfree((void *)p);
}

static void write_to_a_freed_object(void)
{
	char *p = kmalloc(24, GFP_KERNEL), *q = p;

	OPTIMIZER_HIDE_VAR(q);
	kfree(p);
	if (q)
		WRITE_ONCE(*q, 1);
}

static void lose_objects(void)
{
	char *p;
	int i;

	/* More than one, because the address of the last one may still be in a register or on a stack. */
	for (i = 0; i < 8; i++) {
		p = kmalloc(24, GFP_KERNEL);
		OPTIMIZER_HIDE_VAR(p);
	}
}

struct timed {
	struct timer_list timer;
};

static void timed_out(struct timer_list *timer) { }

static void free_a_running_timer(void)
{
	struct timed *t = kmalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return;
	timer_setup(&t->timer, timed_out, 0);
	mod_timer(&t->timer, jiffies + 1000 * HZ);
	kfree(t);
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
	if (!strcmp(what, "bounds"))
		write_behind_an_object();
	else if (!strcmp(what, "freed"))
		write_to_a_freed_object();
	else if (!strcmp(what, "ubsan"))
		pr_info("provoke: %d\n", 1 << forty);
	else if (!strcmp(what, "preempt"))
		pr_info("provoke: CPU %d\n", smp_processor_id());
	else if (!strcmp(what, "sleep"))
		sleep_with_a_spinlock();
	else if (!strcmp(what, "list"))
		add_to_a_broken_list();
	else if (!strcmp(what, "object"))
		free_a_running_timer();
	else if (!strcmp(what, "leak"))
		lose_objects();
	else if (!strcmp(what, "lockdep"))
		take_locks_in_both_orders();
	else
		return -EINVAL;
	return 0;
}

static void __exit provoke_exit(void) { }

module_init(provoke_init);
module_exit(provoke_exit);
MODULE_DESCRIPTION("Faults that a debug kernel reports");
MODULE_LICENSE("GPL");
