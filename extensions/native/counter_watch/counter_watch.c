/* A resident extension: `load` runs init, `unload` runs exit, and in between others use it.
 *
 * Watches the counter of the `count` image. counter_report links to it. */
#include "counter_watch.h"

#include <uio_printf.h>

/* The application's counter. A plain load reads it; in ring 3 it would take uio_read. */
extern volatile uint64_t count;

struct counter_watch counter_watch;

uint64_t counter_watch_take(void) {
    struct counter_sample *sample = &counter_watch.samples[counter_watch.taken % COUNTER_WATCH_SAMPLES];
    sample->time_ns = uio_time_ns();
    sample->count = count;
    return ++counter_watch.taken;
}

uint64_t counter_watch_rate(void) {
    uint64_t taken = counter_watch.taken;
    uint64_t kept = taken < COUNTER_WATCH_SAMPLES ? taken : COUNTER_WATCH_SAMPLES;
    const struct counter_sample *oldest, *newest;
    uint64_t milliseconds;
    if (kept < 2) return 0;
    oldest = &counter_watch.samples[(taken - kept) % COUNTER_WATCH_SAMPLES];
    newest = &counter_watch.samples[(taken - 1) % COUNTER_WATCH_SAMPLES];
    milliseconds = (newest->time_ns - oldest->time_ns) / 1000000;
    /* Somebody may have set the counter back. */
    if (milliseconds == 0 || newest->count < oldest->count) return 0;
    return (newest->count - oldest->count) * 1000000 / milliseconds;
}

int init(void) {
    counter_watch_take();
    uio_printf("counter_watch: the counter stands at %llu\n", (unsigned long long)counter_watch.samples[0].count);
    return 0;
}

void exit(void) {
    char line[96];
    size_t bytes = uio_snprintf(line, sizeof line, "counter_watch: %llu samples taken",
                                (unsigned long long)counter_watch.taken);
    uio_log(line, bytes);
}
