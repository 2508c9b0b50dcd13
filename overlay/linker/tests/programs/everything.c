/* Uses every feature of relocatable objects that compilers produce for extensions. */
#include "host.h"

#define NOINLINE __attribute__((noinline))

/* Weak: nobody defines the first two; the third has its own definition. */
extern u64 absent(u64) __attribute__((weak));
extern int absent_value __attribute__((weak));
__attribute__((weak)) u64 overridable(u64 value) { return value * 3 + 1; }

/* COMMON with -fcommon, .bss otherwise. */
u64 common_sum;
u64 common_array[10];
char common_byte;
static u64 zeroed[33];

/* .data, .data.rel, .data.rel.ro, .rodata, .rodata.str */
u64 initialised = 42;
static u64 aligned_words[3] __attribute__((aligned(64))) = {5, 6, 7};
const char message[] = "position";
static const char *const names[] = {"alpha", "beta", "gamma", "delta", "a longer name, not merged"};
const char *renamed[] = {"one", "two", "three"};
u64 *pointers[] = {&initialised, &common_array[3], &aligned_words[1], host_values + 2};

/* A section of its own, found by the bounds that linkers define. */
struct entry { u64 weight; const char *name; };
#define ENTRY(id, weight, name) \
    static struct entry entry_##id __attribute__((section("entries"), used)) = {weight, name}
ENTRY(a, 3, "first");
ENTRY(b, 1000, "second");
ENTRY(c, 70000, "third");
extern struct entry __start_entries[], __stop_entries[];

/* Function pointers. */
NOINLINE static u64 add_one(u64 value) { return value + 1; }
NOINLINE static u64 twice(u64 value) { return value * 2; }
NOINLINE u64 mixed(u64 value) { return host_mix(value) ^ host_mix(value + 1); }
static const function constant_table[] = {add_one, twice, mixed, overridable};
function writable_table[] = {twice, host_mix, add_one, mixed};
function host_pointer = host_mix;

/* Constructors by priority, and the old way. */
static u64 constructed, destructed;
__attribute__((constructor)) static void construct_last(void) { constructed = constructed * 10 + 4; }
__attribute__((constructor(150))) static void construct_second(void) { constructed = constructed * 10 + 2; }
__attribute__((constructor(101))) static void construct_first(void) { constructed = constructed * 10 + 1; }
static void construct_a(void) { constructed = constructed * 10 + 8; }
static void construct_b(void) { constructed = constructed * 10 + 9; }
__attribute__((section(".ctors.65335"), used)) static void (*const old_constructors[])(void) = {construct_a, construct_b};
__attribute__((destructor)) static void destruct_first(void) { destructed = destructed * 10 + 1; }
__attribute__((destructor(150))) static void destruct_second(void) { destructed = destructed * 10 + 2; }
__attribute__((destructor(101))) static void destruct_last(void) { destructed = destructed * 10 + 3; }
u64 destructor_log(void) { return destructed; }

NOINLINE static u64 length(const char *text) {
    u64 count = 0;
    while (text[count]) count++;
    return count;
}

/* A dense switch: a jump table in .rodata. */
NOINLINE static u64 chosen(u64 which, u64 value) {
    switch (which) {
    case 0: return value + 17;
    case 1: return value * 5;
    case 2: return value ^ 0x55;
    case 3: return value - initialised;
    case 4: return mixed(value);
    case 5: return length(names[value % 5]);
    case 6: return ~value;
    case 7: return value << 3;
    case 8: return host_values[value % 4];
    case 9: return value / 7;
    case 10: return twice(add_one(value));
    default: return 1;
    }
}

/* A tail call: a jump to another symbol. */
NOINLINE static u64 tail(u64 value) { return host_mix(value * 3); }

NOINLINE static double floating(u64 value) { return (double)(value % 1000) * 2.5 + 0.125; }

u64 run(u64 seed) {
    u64 sum = constructed;
    sum += chosen(seed % 12, seed);
    sum = sum * 31 + constant_table[seed % 4](seed);
    sum = sum * 31 + writable_table[(seed / 3) % 4](seed);
    sum = sum * 31 + host_apply(twice, seed) + tail(seed);
    sum = sum * 31 + length(names[seed % 5]) + names[seed % 5][0] + renamed[seed % 3][1] + message[seed % 8];
    sum = sum * 31 + *pointers[seed % 4];
    common_array[seed % 10] += seed;
    common_array[3] += 1;
    common_sum += common_array[seed % 10];
    common_byte++;
    zeroed[seed % 33] += sum;
    sum += common_sum + (u64)common_byte + zeroed[(seed + 1) % 33];
    for (struct entry *entry = __start_entries; entry < __stop_entries; entry++)
        sum += entry->weight + entry->name[0];
    if (absent) sum += absent(seed);
    if (&absent_value) sum += absent_value;
    sum += ((u64)aligned_words % 64) * 1000003;
    sum += ((u64)common_array % 8) * 1000003;
    sum += (u64)floating(seed);
    sum += host_pointer(seed);
#ifdef TAKE_ADDRESS
    /* Only where a stub stands for the function: its real address does not fit 32 bits. */
    sum += host_apply(host_mix, seed);
    sum += (writable_table[1] == host_mix) * 12345 + (host_pointer == host_mix) * 54321;
#else
    sum += host_mix(seed) + 1 + 12345 + 54321;
#endif
    initialised++;
    return sum;
}
