/* SPDX-License-Identifier: Apache-2.0 */
/* What the command says: messages, suggestions, hostile text made visible. */
#ifndef MAYFLY_CLI_MESSAGE_H
#define MAYFLY_CLI_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* "mayfly: ", the message, a newline; to stderr. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "mayfly: note: ", the line made safe for a terminal, a newline; to stderr. Any thread. */
void print_note(const char *line);

/* Of n names the one that `word` is most likely a misspelling of, or NULL. */
const char *closest_name(const char *word, const char *const *names, size_t n);

/*
 * Copy guest text for display: what could command a terminal (control characters, malformed UTF-8,
 * characters that reorder or hide text) becomes \xNN. Newlines and tabs stay if `lines`.
 */
void print_visible(FILE *out, const char *s, size_t len, bool lines);

/* Fill lines up to column 80, each but the first begun with `indent` blanks. Ends with a newline. */
void print_wrapped(FILE *out, int indent, const char *text);

/* "1,234,567" into a buffer of the caller; gives it. */
#define GROUPED_SIZE 32
char *grouped(char buf[GROUPED_SIZE], uint64_t v);

/* "16 KiB", "1.5 MiB": bytes for people. */
char *bytes_text(char buf[GROUPED_SIZE], double bytes);

/*
 * A standard stream that is closed would be replaced by the next file that is opened, which the
 * guest or a message would then write to: have /dev/null there. False after complaining.
 */
bool streams_are_open(void);

/* Flush stdout; complain and give false if anything written to it was lost. */
bool stdout_is_complete(void);

/* Write all of it, however many calls that takes. 0 or an error number. */
int write_whole(int fd, const char *text, size_t len);

/* realloc() to n elements that ends the program (status 125) when there is no memory. */
void *xrealloc(void *p, size_t n, size_t size);

#endif
