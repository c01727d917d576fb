/* SPDX-License-Identifier: Apache-2.0 */
/* The device thread's loop. A test that waits for what never comes is ended by alarm(2). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "machine/loop.h"

#define HANG_SECONDS 60
#define MS UINT64_C(1000000)

static struct loop *loop;
static int pipe_fd[2];

static int setup(void **state)
{
	(void)state;
	alarm(HANG_SECONDS);
	return loop_new(&loop, NULL) < 0 || pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK) < 0;
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return 0;
}

struct calls {
	uint32_t count;
	uint32_t events;
	uint32_t stop_at; /* the loop is stopped by this call; 0: never */
	struct loop_source *remove, *source;
	char order[8];
	char *to; /* appends `name` there */
	char name;
};

static void called(void *context, uint32_t events)
{
	struct calls *c = context;

	c->count++;
	c->events = events;
	if (c->to) {
		size_t n = strlen(c->to);

		c->to[n] = c->name;
	}
	if (c->remove) {
		loop_remove(c->remove);
		c->remove = NULL;
	}
	if (c->count == c->stop_at)
		loop_stop(loop);
}

static void readable_descriptor_is_told_of_until_it_is_read(void **state)
{
	struct calls c = {.stop_at = 3};
	struct loop_source *s;

	(void)state;
	assert_int_equal(loop_add(loop, pipe_fd[0], EPOLLIN, called, &c, &s, NULL), 0);
	assert_int_equal(write(pipe_fd[1], "x", 1), 1);
	loop_run(loop);
	assert_int_equal(c.count, 3);
	assert_true(c.events & EPOLLIN);
}

static void source_without_events_is_not_told_of_errors(void **state)
{
	struct calls quiet = {.stop_at = 0}, other = {.stop_at = 1};
	struct loop_source *s, *t;

	(void)state;
	assert_int_equal(loop_add(loop, pipe_fd[0], EPOLLIN, called, &quiet, &s, NULL), 0);
	loop_change(s, 0);
	close(pipe_fd[1]);
	pipe_fd[1] = -1;
	assert_int_equal(loop_add_timer(loop, called, &other, &t, NULL), 0);
	loop_set_timer(t, clock_now());
	loop_run(loop);
	assert_int_equal(quiet.count, 0);
	loop_change(s, EPOLLIN);
	quiet.stop_at = 1;
	loop_run(loop);
	assert_true(quiet.events & EPOLLHUP);
}

static void removed_source_is_not_called_although_it_was_due(void **state)
{
	struct calls c[2] = {{.stop_at = 1}, {.stop_at = 1}};
	struct loop_source *s[2];
	int other[2];

	(void)state;
	assert_int_equal(pipe2(other, O_CLOEXEC), 0);
	assert_int_equal(loop_add(loop, pipe_fd[0], EPOLLIN, called, &c[0], &s[0], NULL), 0);
	assert_int_equal(loop_add(loop, other[0], EPOLLIN, called, &c[1], &s[1], NULL), 0);
	/* Whichever comes first takes the other away. */
	c[0].remove = s[1];
	c[1].remove = s[0];
	assert_int_equal(write(pipe_fd[1], "x", 1), 1);
	assert_int_equal(write(other[1], "x", 1), 1);
	loop_run(loop);
	assert_int_equal(c[0].count + c[1].count, 1);
	close(other[0]);
	close(other[1]);
}

static void regular_file_is_always_ready(void **state)
{
	char path[] = "/tmp/mayfly-loop-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	struct calls c = {.stop_at = 2}, timer = {.stop_at = 1};
	struct loop_source *s, *t;

	(void)state;
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(loop_add(loop, fd, EPOLLIN, called, &c, &s, NULL), 0);
	loop_run(loop);
	assert_int_equal(c.count, 2);
	loop_change(s, 0);
	assert_int_equal(loop_add_timer(loop, called, &timer, &t, NULL), 0);
	loop_set_timer(t, clock_now() + MS);
	loop_run(loop);
	assert_int_equal(c.count, 2);
	close(fd);
}

static void timers_come_in_the_order_of_their_deadlines(void **state)
{
	char order[8] = "";
	struct calls c[3] = {{.to = order, .name = 'a', .stop_at = 1},
			     {.to = order, .name = 'b'},
			     {.to = order, .name = 'c'}};
	struct loop_source *s[3];
	uint64_t start = clock_now();

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(loop_add_timer(loop, called, &c[i], &s[i], NULL), 0);
	loop_set_timer(s[0], start + 30 * MS);
	loop_set_timer(s[1], start + 20 * MS);
	loop_set_timer(s[2], start + 10 * MS);
	loop_run(loop);
	assert_true(clock_now() >= start + 30 * MS);
	assert_string_equal(order, "cba");
	assert_int_equal(c[0].events, 0);
}

static void timer_that_was_set_off_does_not_come(void **state)
{
	struct calls off = {.stop_at = 0}, end = {.stop_at = 1};
	struct loop_source *s, *t;

	(void)state;
	assert_int_equal(loop_add_timer(loop, called, &off, &s, NULL), 0);
	assert_int_equal(loop_add_timer(loop, called, &end, &t, NULL), 0);
	loop_set_timer(s, clock_now() + MS);
	loop_set_timer(t, clock_now() + 2 * MS);
	loop_set_timer(s, UINT64_MAX);
	loop_run(loop);
	assert_int_equal(off.count, 0);
	assert_int_equal(end.count, 1);
}

static struct loop_source *again;

static void set_in_the_past(void *context, uint32_t events)
{
	uint32_t *count = context;

	(void)events;
	if (++*count < 100)
		loop_set_timer(again, 1);
}

static void timer_that_is_always_due_leaves_the_others_their_turn(void **state)
{
	struct calls end = {.stop_at = 1};
	struct loop_source *s;
	uint32_t count = 0;

	(void)state;
	assert_int_equal(loop_add_timer(loop, set_in_the_past, &count, &again, NULL), 0);
	assert_int_equal(loop_add(loop, pipe_fd[0], EPOLLIN, called, &end, &s, NULL), 0);
	assert_int_equal(write(pipe_fd[1], "x", 1), 1);
	loop_set_timer(again, 1);
	loop_run(loop);
	assert_int_equal(end.count, 1);
	assert_true(count < 100);
}

static void stopping_before_running_is_kept(void **state)
{
	struct calls c = {.stop_at = 1};
	struct loop_source *t;

	(void)state;
	loop_stop(loop);
	loop_run(loop);
	assert_int_equal(loop_add_timer(loop, called, &c, &t, NULL), 0);
	loop_set_timer(t, 0);
	loop_run(loop);
	assert_int_equal(c.count, 1);
}

static pthread_t loop_thread;
static bool on_loop_thread;

static void *run_loop(void *context)
{
	(void)context;
	loop_run(loop);
	return NULL;
}

static void note_thread(void *context, uint32_t events)
{
	uint32_t *count = context;

	assert_int_equal(events, 0);
	on_loop_thread = pthread_equal(pthread_self(), loop_thread);
	(*count)++;
}

static void nested_call(void *context, uint32_t events)
{
	(void)events;
	loop_call(loop, note_thread, context);
}

/* Running by the time that it was called once. */
static void start_loop(void)
{
	uint32_t count = 0;

	assert_int_equal(pthread_create(&loop_thread, NULL, run_loop, NULL), 0);
	do
		loop_call(loop, note_thread, &count);
	while (!on_loop_thread);
}

static void call_is_made_on_the_loops_thread_and_waited_for(void **state)
{
	uint32_t count = 0;

	(void)state;
	on_loop_thread = true;
	loop_call(loop, note_thread, &count);
	assert_int_equal(count, 1); /* here: nothing runs */
	on_loop_thread = false;
	start_loop();
	count = 0;
	for (uint32_t i = 1; i <= 100; i++) {
		loop_call(loop, note_thread, &count);
		assert_int_equal(count, i);
		assert_true(on_loop_thread);
	}
	loop_call(loop, nested_call, &count);
	assert_int_equal(count, 101);
	loop_stop(loop);
	pthread_join(loop_thread, NULL);
	loop_call(loop, note_thread, &count);
	assert_int_equal(count, 102);
}

static void timer_set_by_another_thread_wakes_the_loop(void **state)
{
	struct calls c = {.stop_at = 1};
	struct loop_source *t;

	(void)state;
	assert_int_equal(loop_add_timer(loop, called, &c, &t, NULL), 0);
	on_loop_thread = false;
	start_loop();
	loop_set_timer(t, clock_now() + MS);
	pthread_join(loop_thread, NULL);
	assert_int_equal(c.count, 1);
}

/* Its own copy of it, that is: epoll's part is shared. */
static void loop_goes_on_when_a_forked_child_frees_it(void **state)
{
	struct calls c = {.stop_at = 1}, end = {.stop_at = 1};
	struct loop_source *s, *t;
	pid_t child;
	int status;

	(void)state;
	assert_int_equal(loop_add(loop, pipe_fd[0], EPOLLIN, called, &c, &s, NULL), 0);
	assert_int_equal(loop_add_timer(loop, called, &end, &t, NULL), 0);
	child = fork();
	if (child == 0) {
		loop_free(loop);
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(write(pipe_fd[1], "x", 1), 1);
	/* Much later than what is there already: it ends the test if the loop goes wrong. */
	loop_set_timer(t, clock_now() + 30000 * MS);
	loop_run(loop);
	assert_int_equal(c.count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(readable_descriptor_is_told_of_until_it_is_read),
		TEST(source_without_events_is_not_told_of_errors),
		TEST(removed_source_is_not_called_although_it_was_due),
		TEST(regular_file_is_always_ready),
		TEST(timers_come_in_the_order_of_their_deadlines),
		TEST(timer_that_was_set_off_does_not_come),
		TEST(timer_that_is_always_due_leaves_the_others_their_turn),
		TEST(stopping_before_running_is_kept),
		TEST(call_is_made_on_the_loops_thread_and_waited_for),
		TEST(timer_set_by_another_thread_wakes_the_loop),
		TEST(loop_goes_on_when_a_forked_child_frees_it),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
