/* SPDX-License-Identifier: GPL-2.0 */
/* A guest that a swap keeps, and the journal with all of them. */
#ifndef SWAP_GUEST_H
#define SWAP_GUEST_H

#include <json-c/json.h>
#include <stdbool.h>
#include <sys/types.h>

#include "swap/parameters.h"
#include "swap/qmp.h"
#include "swap/started.h"

/*
 * How far a guest is. A phase is in the journal before its first step is done, so it also says what may have been
 * done; a state file counts from SAVED to RESTORING, and never after it.
 */
enum phase {
	RUNNING,   /* nothing is done to it, or all that was to be */
	SAVING,	   /* its process may be stopped, and writes its state; the file is not complete */
	SAVED,	   /* its state is complete; its process is there, and stopped */
	GONE,	   /* its process has ended */
	RESTORING, /* a new process takes the state, and stays stopped */
	RESUMING,  /* the new process may have begun to run it: the file is old */
	LOST,	   /* it has ended otherwise: nothing is left to do */
};

#define PHASES (LOST + 1)
extern const char * const phase_names[PHASES];

/* A disk image: nobody may have written to it since the guest stopped. Or its memory, which must be the same file */
struct image {
	char *file;
	bool memory;
	dev_t device;
	ino_t inode;
	long long size, seconds, nanoseconds;
};

struct guest {
	enum phase phase;
	bool libvirt; /* a domain of the system's libvirtd, which then does all */
	char *name;
	int pid;		    /* of the process that has it, or had it last */
	unsigned long long time;    /* start_time() */
	bool ran;		    /* it was running when it was stopped */
	bool in_memory;		    /* its memory is in files of tmpfs or hugetlbfs, and not in the state file */
	long long bytes;	    /* to write, at most */
	long long written;	    /* that were written */
	long long stopped, resumed; /* milliseconds since 1970, or 0 */
	char *file;		    /* with its state */
	char *log;		    /* messages of the new process, if they went nowhere before */
	char *socket;		    /* of QMP */
	struct image *image;
	int images;
	bool images_known;
	struct started started;
	struct json_object *settings; /* arguments of commands that set its migration as it was */
	bool cet, nested;	      /* it may have these features */

	/* Not in the journal */
	struct json_object *refused; /* why it cannot be kept: "reason" and "fix" */
	struct json_object *notes;   /* what else to know before it is saved: sentences */
	struct qmp qmp;
	int cgroup_holder;
	long long said; /* bytes that its messages had before its new process began */
	char *remark;	/* what the user should know */
};

/* Refuse a guest: @reason and @fix are a sentence each */
void refuse_guest(struct guest *guest, const char *reason, const char *fix);
void add_guest_note(struct guest *guest, const char *note);
/* "web1 (4711)" */
char *describe_guest(const struct guest *guest);
bool waits_in_file(const struct guest *guest);

struct journal {
	char *from, *to, *boot;
	const struct parameter *parameters; /* of the modules before the swap */
	struct json_object *offer;	    /* what KVM offered before, as offer_ask() has it; NULL: not known */
	struct guest *guest;
	int guests;
	bool device_known; /* whose /dev/kvm was, and its mode */
	uid_t device_user;
	gid_t device_group;
	mode_t device_mode;
	bool written; /* there is a file */
};

/* The id of this boot */
char *boot_id(void);
/* From what look_at_unfinished() read; false if it is damaged */
bool read_journal(struct json_object *json, struct journal *journal);
/* Write it to the disk; 0 or an errno */
int write_journal(struct journal *journal);
/* Set a guest's phase, and write the journal; 0 or an errno, and then the phase is the old one */
int enter_phase(struct journal *journal, struct guest *guest, enum phase phase);
/* The swap has come to its end: remove the journal; 0 or an errno */
int remove_journal(struct journal *journal);

/* Note what its disk images are now; NULL, or what is wrong with one since that was noted */
void note_images(struct guest *guest);
char *changed_image(const struct guest *guest);

#endif
