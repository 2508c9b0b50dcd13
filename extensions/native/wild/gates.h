/* Gates and exported functions, used wrongly. */
#ifndef WILD_GATES_H
#define WILD_GATES_H

#include "memory.h"
#include "wild.h"

#define GATE_VECTOR "0x81"
#define BLOCK_BYTES 65536

/* From wild_bounce, which has to be loaded before: calls back. */
void wild_bounce(void (*callback)(void)) __attribute__((weak));

/* Each level enters wild_bounce's domain through a gate, and runs this function there. */
static void bounce_again(void) {
    wild_bounce(bounce_again);
    wild_result = 0;
}

static void gate_recursion(const char *target) {
    (void)target;
    if (opaque((uint64_t)(uintptr_t)&wild_bounce) == 0) {
        uio_printf("load wild_bounce before wild\n");
        return;
    }
    bounce_again();
}

/* Takes memory until there is none, and does not look whether it got it. */
static void memory_exhaustion(const char *target) {
    uint64_t bytes = 0;
    (void)target;
    for (;;) {
        uint64_t block = (uint64_t)(uintptr_t)uio_alloc(BLOCK_BYTES, 16);
        if (block == 0) uio_printf("no more after %llu KiB\n", (unsigned long long)(bytes / 1024));
        *word_at(block) = bytes;
        bytes += BLOCK_BYTES;
    }
}

static void double_free(const char *target) {
    void *block = uio_alloc(64, 16);
    (void)target;
    if (block == NULL) uio_printf("no memory is left to free: unload wild first\n");
    uio_free(block);
    uio_free(block);
}

static void free_garbage(const char *target) {
    uint64_t local = 0;
    uio_free((void *)(uintptr_t)target_or(target, (uint64_t)(uintptr_t)&local));
}

static void gate_unmapped(const char *target) {
    uio_print((const char *)(uintptr_t)target_or(target, UNMAPPED), 16);
}

static void gate_huge_length(const char *target) {
    static const char text[] = "a short text";
    uio_print(text, (size_t)target_or(target, UINT64_MAX - 4096));
}

/* Asks a gate to write where the caller may not. */
static void gate_write_kernel(const char *target) {
    static const uint64_t value = 0;
    uio_read((void *)(uintptr_t)target_or(target, kernel_block()), &value, sizeof value);
}

/* Refused with an error instead of a report: the gate's contract is that it says no. */
static void gate_write_refused(const char *target) {
    uint64_t value = 0;
    int kernel = uio_write((void *)(uintptr_t)target_or(target, kernel_block()), &value, sizeof value);
    int nowhere = uio_write((void *)(uintptr_t)UNMAPPED, &value, sizeof value);
    uio_printf("uio_write: to the kernel %d, to nowhere %d\n", kernel, nowhere);
}

static void gate_alignment(const char *target) {
    wild_result = (uint64_t)(uintptr_t)uio_alloc(16, (size_t)target_or(target, 3));
}

/* Calls a gate with the stack pointer in memory of the kernel: whatever the gate pushes there before it has a stack of its
 * own would be the kernel's loss. */
static void gate_stack_in_kernel(const char *target) {
    uint64_t address = target_or(target, kernel_block() + 8);
    __asm__ volatile("mov %0, %%rsp\n\tjmp *%1"
                     :
                     : "r"(opaque(address)), "r"((void (*)(void))uio_yield)
                     : "memory");
}

/* With the direction flag set, string instructions run backwards: the gate's must not. */
static void gate_direction_flag(const char *target) {
    static const char text[] = "printed with the direction flag set\n";
    (void)target;
    __asm__ volatile("std" : : : "cc", "memory");
    uio_print(text, sizeof text - 1);
    __asm__ volatile("cld" : : : "cc", "memory");
}

/* With all floating-point exceptions enabled and the rounding mode changed, calls a gate. */
static void gate_float_control(const char *target) {
    uint32_t control = 0x6000;
    uint32_t before;
    (void)target;
    __asm__ volatile("stmxcsr %0\n\tldmxcsr %1" : "=m"(before) : "m"(control));
    wild_result = uio_time_ns();
    __asm__ volatile("ldmxcsr %0" : : "m"(before));
}

/* The way into the guest that is meant for ring 3, with a gate number that does not exist. */
static void gate_interrupt(const char *target) {
    uint64_t gate = target_or(target, 0xffff);
    __asm__ volatile("int $" GATE_VECTOR : "+a"(gate) : : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
    wild_result = gate;
}

static void abort_run(const char *target) {
    const char *message = target != NULL ? target : "wild gives up";
    uio_abort(message, uio_strlen(message));
}

#endif
