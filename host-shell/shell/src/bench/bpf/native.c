/* Runs a packet program that was compiled for this machine over the suite's packets, as the engines do: prints the
 * fastest and the median round in nanoseconds a run, then the sum of the results of one pass.
 *
 *     native PACKETS PACKET_BYTES ROUNDS PASSES
 *
 * The program takes 32-bit addresses in its context, so the packets lie below 4 GiB. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

struct context {
    uint32_t data, data_end, data_meta, ingress, queue, egress;
};

extern int PROGRAM(struct context *);

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static int compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(int count, char **arguments)
{
    if (count != 5)
        return 2;
    size_t bytes = strtoul(arguments[2], 0, 10), rounds = strtoul(arguments[3], 0, 10);
    size_t passes = strtoul(arguments[4], 0, 10);
    FILE *file = fopen(arguments[1], "rb");
    size_t room = 1 << 20;
    unsigned char *packets =
        mmap(0, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (!file || packets == MAP_FAILED || !bytes || !rounds || !passes)
        return 1;
    size_t ring = fread(packets, 1, room, file) / bytes;
    struct context *contexts = calloc(ring, sizeof(*contexts));
    double *times = calloc(rounds, sizeof(*times));
    if (!ring || !contexts || !times)
        return 1;
    for (size_t index = 0; index < ring; index++) {
        contexts[index].data = (uintptr_t)(packets + index * bytes);
        contexts[index].data_end = contexts[index].data + bytes;
    }
    int (*volatile program)(struct context *) = PROGRAM;
    uint64_t sum = 0;
    for (size_t index = 0; index < ring; index++)
        sum += (uint32_t)program(&contexts[index]);
    volatile uint64_t kept;
    for (size_t round = 0; round < rounds; round++) {
        uint64_t total = 0;
        double start = now();
        for (size_t pass = 0; pass < passes; pass++)
            for (size_t index = 0; index < ring; index++)
                total += (uint32_t)program(&contexts[index]);
        times[round] = (now() - start) / (passes * ring);
        kept = total;
    }
    (void)kept;
    qsort(times, rounds, sizeof(*times), compare);
    printf("%f %f %llu\n", times[0], times[rounds / 2], (unsigned long long)sum);
    return 0;
}
