/* Links to counter_watch, which has to be loaded before, and then stays loaded as long as this is. */
#include "../counter_watch/counter_watch.h"

#include <uio_printf.h>

#define NS_PER_MS 1000000ull

int main(void) {
    uint64_t taken = counter_watch_take();
    uint64_t kept = taken < COUNTER_WATCH_SAMPLES ? taken : COUNTER_WATCH_SAMPLES;
    uint64_t rate = counter_watch_rate();
    uio_printf("%12s  %20s\n", "time (ms)", "count");
    for (uint64_t index = taken - kept; index < taken; index++) {
        const struct counter_sample *sample = &counter_watch.samples[index % COUNTER_WATCH_SAMPLES];
        uio_printf("%12llu  %20llu\n", (unsigned long long)(sample->time_ns / NS_PER_MS),
                   (unsigned long long)sample->count);
    }
    uio_printf("%llu.%03llu counts a second\n", (unsigned long long)(rate / 1000), (unsigned long long)(rate % 1000));
    return 0;
}
