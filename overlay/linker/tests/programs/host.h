/* What the host of the test gives to the programs. */
typedef unsigned long u64;
typedef u64 (*function)(u64);

u64 host_mix(u64 value);
u64 host_apply(function called, u64 value);
extern u64 host_values[4];
