/* What counter_watch offers to other extensions. */
#ifndef COUNTER_WATCH_H
#define COUNTER_WATCH_H

#include <stdint.h>

#define COUNTER_WATCH_SAMPLES 64

/* One look at the counter. */
struct counter_sample {
    uint64_t time_ns;
    uint64_t count;
};

/* The last COUNTER_WATCH_SAMPLES samples: sample n is samples[n % COUNTER_WATCH_SAMPLES]. Another extension reads it in
 * place, as any memory; only counter_watch writes it. */
struct counter_watch {
    uint64_t taken;
    struct counter_sample samples[COUNTER_WATCH_SAMPLES];
};
extern struct counter_watch counter_watch;

/* Takes a sample now. Returns how many were taken so far. From another extension this is a gate: it
 * runs in counter_watch's domain, on a stack of its own. */
uint64_t counter_watch_take(void);

/* Counts per 1000 seconds between the oldest sample kept and the newest; 0 with fewer than two. */
uint64_t counter_watch_rate(void);

#endif
