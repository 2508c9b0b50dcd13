/* Jumps, stacks and loops that go wrong. */
#ifndef WILD_CONTROL_H
#define WILD_CONTROL_H

#include "memory.h"
#include "wild.h"

/* Bytes that each level of the recursion takes. */
#define FRAME_BYTES 1024

static void jump(uint64_t address) {
    void (*function)(void) = (void (*)(void))(uintptr_t)opaque(address);
    function();
}

static void jump_null(const char *target) {
    jump(target_or(target, 0));
}

static void jump_garbage(const char *target) {
    jump(target_or(target, UNMAPPED));
}

/* Data holds the instruction `ret`; it must not run. */
static void jump_data(const char *target) {
    static uint8_t code[16] = {0xc3};
    jump(target_or(target, (uint64_t)(uintptr_t)code));
}

static void jump_non_canonical(const char *target) {
    jump(target_or(target, NOT_CANONICAL));
}

/* To any address, with the registers that `wrpkru` reads set to what would open everything: what an attacker does who
 * knows where the gates are. */
static void jump_anywhere(const char *target) {
    uint64_t address = target_or(target, 0);
    if (address == 0) {
        uio_printf("name an address, the inside of a gate for example\n");
        return;
    }
    /* Whatever happens next, nothing comes back here. */
    __asm__ volatile("xor %%eax, %%eax\n\txor %%ecx, %%ecx\n\txor %%edx, %%edx\n\tcall *%0\n\tud2"
                     :
                     : "r"(address)
                     : "rax", "rcx", "rdx", "memory");
}

static uint64_t recurse(uint64_t depth) {
    volatile uint8_t frame[FRAME_BYTES];
    frame[depth % FRAME_BYTES] = (uint8_t)depth;
    /* Always true, which only this program's author knows. */
    if (opaque(1) == 1) depth = recurse(depth + 1);
    return depth + frame[depth % FRAME_BYTES];
}

static void stack_overflow(const char *target) {
    (void)target;
    wild_result = recurse(0);
}

/* Pushes with the stack pointer somewhere else. */
static void push_at(uint64_t address) {
    __asm__ volatile("mov %0, %%rsp\n\tpush %%rax\n\tud2" : : "r"(opaque(address)) : "memory");
}

static void stack_lost(const char *target) {
    push_at(target_or(target, UNMAPPED));
}

static void stack_in_kernel(const char *target) {
    push_at(target_or(target, kernel_block() + 8));
}

static void loop(const char *target) {
    (void)target;
    for (;;) wild_result = wild_result + 1;
}

static void sleep_forever(const char *target) {
    (void)target;
    uio_sleep_ns(UINT64_MAX);
}

static void print_flood(const char *target) {
    (void)target;
    for (uint64_t line = 0;; line++) uio_printf("line %llu\n", (unsigned long long)line);
}

#endif
