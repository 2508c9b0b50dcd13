/* Misbehaves in the way that its argument names. Each case shall end this extension, with a report that says what it did, and
 * nothing else.
 *
 *     wild list
 *     wild CASE [TARGET]     TARGET: the address for cases that use one
 *
 * What the loader refuses to load (wrpkru, xrstor, wrmsr) has a file of its own each. Some cases do no harm in
 * ring 0 and say so: see the README. */
#include "control.h"
#include "gates.h"
#include "memory.h"
#include "processor.h"
#include "wild.h"

static const struct wild_case CASES[] = {
    {"null-read", "loads from address 0", null_read},
    {"null-write", "stores to address 0", null_write},
    {"wild-read", "loads from an address where nothing is mapped", wild_read},
    {"wild-write", "stores to an address where nothing is mapped", wild_write},
    {"non-canonical-read", "loads from an address that cannot be mapped", non_canonical_read},
    {"app-write", "changes the application's counter directly", app_write},
    {"kernel-write", "stores to a block of the guest's heap", kernel_write},
    {"extension-write", "stores to the data of another extension", extension_write},
    {"text-write", "stores to its own code", text_write},
    {"constant-write", "stores to its own constants", constant_write},
    {"page-table-write", "stores to the page tables", page_table_write},
    {"descriptor-table-write", "stores to the interrupt descriptor table", descriptor_table_write},
    {"unaligned-sse", "loads a vector from an odd address", unaligned_sse},
    {"jump-null", "calls address 0", jump_null},
    {"jump-garbage", "calls an address where nothing is mapped", jump_garbage},
    {"jump-data", "calls its own data", jump_data},
    {"jump-non-canonical", "calls an address that cannot be mapped", jump_non_canonical},
    {"jump", "calls TARGET with eax, ecx and edx zero", jump_anywhere},
    {"stack-overflow", "recurses for ever", stack_overflow},
    {"stack-lost", "pushes with a stack pointer that points nowhere", stack_lost},
    {"stack-in-kernel", "pushes with a stack pointer into the guest's heap", stack_in_kernel},
    {"loop", "computes for ever", loop},
    {"sleep", "sleeps for ever", sleep_forever},
    {"print-flood", "prints for ever", print_flood},
    {"divide-zero", "divides by zero", divide_zero},
    {"invalid-opcode", "runs ud2", invalid_opcode},
    {"breakpoint", "runs int3", breakpoint},
    {"simd-exception", "makes a floating-point exception", simd_exception},
    {"trap-flag", "single-steps itself", trap_flag},
    {"interrupts-off-return", "turns interrupts off and returns", interrupts_off_return},
    {"interrupts-off-loop", "turns interrupts off and computes for ever", interrupts_off_loop},
    {"interrupts-off-halt", "turns interrupts off and halts", interrupts_off_halt},
    {"hlt", "halts, again and again", halt},
    {"port-write", "writes to an I/O port", port_write},
    {"syscall", "runs syscall", system_call},
    {"gate-recursion", "recurses through the gates of wild_bounce", gate_recursion},
    {"memory-exhaustion", "takes memory until there is none and uses what it did not get", memory_exhaustion},
    {"double-free", "frees a block twice", double_free},
    {"free-garbage", "frees an address that was never allocated", free_garbage},
    {"gate-unmapped", "prints from an address where nothing is mapped", gate_unmapped},
    {"gate-huge-length", "prints nearly all of the address space", gate_huge_length},
    {"gate-write-kernel", "has uio_read fill a block of the guest's heap", gate_write_kernel},
    {"gate-write-refused", "has uio_write change a block of the guest's heap; returns", gate_write_refused},
    {"gate-alignment", "allocates with an alignment that is no power of two", gate_alignment},
    {"gate-stack-in-kernel", "enters a gate with a stack pointer into the guest's heap", gate_stack_in_kernel},
    {"gate-direction-flag", "enters a gate with the direction flag set; returns", gate_direction_flag},
    {"gate-float-control", "enters a gate with floating-point exceptions enabled; returns", gate_float_control},
    {"gate-interrupt", "enters by the interrupt for ring 3", gate_interrupt},
    {"abort", "ends itself with a message", abort_run},
};
#define CASES_COUNT (sizeof CASES / sizeof *CASES)

static int list(void) {
    for (size_t index = 0; index < CASES_COUNT; index++) uio_printf("%-24s %s\n", CASES[index].name, CASES[index].what);
    return 0;
}

int main(int argc, char **argv) {
    const char *target = argc > 2 ? argv[2] : NULL;
    if (argc == 2 && uio_equal(argv[1], "list")) return list();
    if (argc != 2 && argc != 3) {
        uio_printf("usage: wild list | wild CASE [TARGET]\n");
        return 2;
    }
    for (size_t index = 0; index < CASES_COUNT; index++) {
        if (!uio_equal(argv[1], CASES[index].name)) continue;
        CASES[index].run(target);
        uio_printf("wild: %s came back\n", CASES[index].name);
        return 0;
    }
    uio_printf("wild: no case \"%s\"; `wild list` shows them\n", argv[1]);
    return 2;
}
