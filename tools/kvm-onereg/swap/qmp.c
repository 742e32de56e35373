// SPDX-License-Identifier: GPL-2.0
/* kvm-onereg swap: QMP. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "model/hold.h"
#include "swap/qmp.h"

/* A monitor answers at once, unless it has another client: then it says nothing */
#define GREETING_MS 5000
/* Some commands close disk images, or open them */
#define ANSWER_MS 120000
#define LONGEST	  (16u << 20)
/* While an answer is awaited */
#define MOST_EVENTS 10000

/* What is received lives as long as the command */
static struct json_object *keep_json(struct json_object *object)
{
	static struct json_object *all;

	if (!all)
		all = json_object_new_array();
	json_object_array_add(all, object);
	return object;
}

/* The next line, without its end; NULL and *why if none comes in time */
static char *qmp_line(struct qmp *qmp, long end, char **why)
{
	for (;;) {
		struct pollfd p = { .fd = qmp->fd, .events = POLLIN };
		char *newline = memchr(qmp->bytes, '\n', qmp->size), *line, *more;
		long left = end - milliseconds();
		int ready;
		ssize_t n;

		if (newline) {
			line = format("%.*s", (int)(newline - qmp->bytes), qmp->bytes);
			qmp->size -= newline + 1 - qmp->bytes;
			memmove(qmp->bytes, newline + 1, qmp->size);
			return line;
		}
		ready = left > 0 ? poll(&p, 1, left) : 0;
		if (ready < 0 && errno == EINTR)
			continue;
		if (!ready) {
			*why = format("QEMU does not answer");
			return NULL;
		}
		more = qmp->size < LONGEST ? realloc(qmp->bytes, qmp->size + 65536) : NULL;
		if (!more) {
			*why = format("QEMU's answer is too long");
			return NULL;
		}
		qmp->bytes = more;
		n = recv(qmp->fd, qmp->bytes + qmp->size, 65536, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			*why = format("QEMU has closed the connection");
			return NULL;
		}
		qmp->size += n;
	}
}

/* The next object that is no event */
static struct json_object *next_object(struct qmp *qmp, long end, char **why)
{
	/* Whoever runs it must not fill our memory with events */
	for (int events = 0; events < MOST_EVENTS; events++) {
		char *line = qmp_line(qmp, end, why);
		struct json_object *object;

		if (!line)
			return NULL;
		if (!line[strspn(line, " \t\r")])
			continue;
		object = json_tokener_parse(line);
		if (!object || !json_object_is_type(object, json_type_object)) {
			json_object_put(object);
			*why = format("what answers does not speak QMP");
			return NULL;
		}
		if (!json_object_object_get_ex(object, "event", NULL))
			return keep_json(object);
		json_object_put(object);
	}
	*why = format("QEMU tells of events without end");
	return NULL;
}

/* Send a line, with a file if @file is not -1 */
static bool send_line(struct qmp *qmp, const char *line, int file, char **why)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .header = {
			      .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	size_t left = strlen(line);

	memcpy(CMSG_DATA(&control.header), &file, sizeof(file));
	while (left) {
		struct iovec data = { .iov_base = (char *)line, .iov_len = left };
		struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };
		ssize_t n;

		if (file >= 0) {
			message.msg_control = &control;
			message.msg_controllen = sizeof(control);
		}
		n = sendmsg(qmp->fd, &message, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			*why = errno == EPIPE || errno == ECONNRESET ? format("QEMU has closed the connection") :
								       format("QEMU cannot be asked: %m");
			return false;
		}
		file = -1;
		line += n;
		left -= n;
	}
	return true;
}

static struct json_object *send_and_receive(struct qmp *qmp, const char *command, struct json_object *arguments,
					    int file, int ms, char **why)
{
	struct json_object *request = json_object_new_object(), *answer, *error, *id, *result;
	long end = milliseconds() + ms;
	static int number;
	bool sent;

	number++;
	json_object_object_add(request, "execute", json_object_new_string(command));
	if (arguments)
		json_object_object_add(request, "arguments", arguments);
	json_object_object_add(request, "id", json_object_new_int(number));
	sent = send_line(qmp, format("%s\n", json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN)), file,
			 why);
	json_object_put(request);
	if (!sent)
		return NULL;
	do {
		answer = next_object(qmp, end, why);
		if (!answer)
			return NULL;
	} while (!json_object_object_get_ex(answer, "id", &id) || json_object_get_int(id) != number);
	if (json_object_object_get_ex(answer, "error", &error)) {
		*why = printable(format("QEMU says: %s", json_text_in(error, "desc") ?: "an error"));
		return NULL;
	}
	if (!json_object_object_get_ex(answer, "return", &result) || !result) {
		*why = format("what answers does not speak QMP");
		return NULL;
	}
	return result;
}

struct json_object *qmp_ask(struct qmp *qmp, const char *command, struct json_object *arguments, char **why)
{
	return send_and_receive(qmp, command, arguments, -1, ANSWER_MS, why);
}

struct json_object *qmp_give_file(struct qmp *qmp, const char *name, int file, char **why)
{
	return send_and_receive(qmp, "getfd", qmp_argument("fdname", name), file, ANSWER_MS, why);
}

struct json_object *qmp_argument(const char *key, const char *text)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, key, json_object_new_string(text));
	return object;
}

bool qmp_open(struct qmp *qmp, const char *path, int pid, char **why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct json_object *greeting;
	struct ucred peer = { 0 };
	socklen_t size = sizeof(peer);

	*qmp = (struct qmp) { .fd = -1, .path = format("%s", path) };
	if (strlen(path) >= sizeof(address.sun_path)) {
		*why = format("its path is too long for a socket");
		return false;
	}
	strcpy(address.sun_path, path);
	/* A full queue of connections must not block */
	qmp->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (qmp->fd < 0 || connect(qmp->fd, (struct sockaddr *)&address, sizeof(address)) ||
	    getsockopt(qmp->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size)) {
		*why = errno == EAGAIN ? format("it has other clients") : format("it cannot be connected to: %m");
		qmp_close(qmp);
		return false;
	}
	if (peer.pid != pid) {
		*why = format("process %d listens there", peer.pid);
		qmp_close(qmp);
		return false;
	}
	fcntl(qmp->fd, F_SETFL, 0);
	greeting = next_object(qmp, milliseconds() + GREETING_MS, why);
	if (!greeting) {
		if (!strcmp(*why, "QEMU does not answer"))
			*why = format("it does not answer: another program is connected to it, or QEMU hangs");
	} else if (!json_object_object_get_ex(greeting, "QMP", NULL)) {
		*why = format("what answers does not speak QMP");
	} else if (send_and_receive(qmp, "qmp_capabilities", NULL, -1, GREETING_MS, why)) {
		return true;
	}
	qmp_close(qmp);
	return false;
}

void qmp_close(struct qmp *qmp)
{
	if (qmp->fd >= 0)
		close(qmp->fd);
	free(qmp->bytes);
	qmp->bytes = NULL;
	qmp->size = 0;
	qmp->fd = -1;
}
