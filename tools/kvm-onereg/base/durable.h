/* SPDX-License-Identifier: GPL-2.0 */
/* Files that are still there, and whole, after a crash or a power cut. */
#ifndef BASE_DURABLE_H
#define BASE_DURABLE_H

/*
 * write_durably - put @text into @file, which is then the old one or the new one, whole, whatever happens
 *
 * Readable by its owner alone. 0 or an errno. It calls rename() once, when all else has succeeded.
 */
int write_durably(const char *file, const char *text);
/* Remove @file for good; one that is not there is no error. 0 or an errno */
int remove_durably(const char *file);
/* Make the entry of @file in its folder durable; 0 or an errno */
int sync_folder_of(const char *file);
/* Make a folder that only its owner can enter, and those above it; 0 or an errno */
int make_private_folder(const char *folder);

#endif
