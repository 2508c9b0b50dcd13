/* Uses what provider.c defines. */
#include "host.h"
extern u64 shared_state;
u64 provide(u64 value);
u64 run(u64 seed) {
    shared_state += 1;
    return provide(seed);
}
