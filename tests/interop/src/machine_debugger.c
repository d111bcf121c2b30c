/* What `cargo xtask test gdb` debugs as a machine: two harts without a kernel, in M mode and behind page tables. */

typedef unsigned long word;

/* Sv39: the whole of the physical addresses below 4 GiB once more from here on. */
#define HIGH 0xffffffc000000000ul
#define LEAF 0xcful /* D, A, X, W, R, V */

volatile word counter, watched, other, finish;
static word table[512] __attribute__((aligned(4096)));
char stacks[2][4096] __attribute__((aligned(16)));

__attribute__((noinline)) void tick(void) { counter++; }

__attribute__((noinline)) void store(word value) {
    watched = value;
    other = value; /* Behind the watched one: a debugger stops before this. */
}

__attribute__((noinline)) word load(void) { return watched; }

/* Runs behind page tables, at HIGH + its address. */
__attribute__((noinline)) void high(void) {
    for (word i = 0; i < 3; i++)
        tick();
    *(volatile unsigned *)0x100000 = 0x5555;
    for (;;)
        ;
}

__attribute__((noinline)) void turn_on_paging(void) {
    for (word i = 0; i < 4; i++)
        table[i] = table[256 + i] = (i << 28) | LEAF;
    asm volatile("csrw satp, %0\n sfence.vma" ::"r"(8ul << 60 | (word)table >> 12));
    /* All memory for S mode: the first PMP entry. */
    asm volatile("csrw pmpaddr0, %0\n csrw pmpcfg0, %1" ::"r"(-1ul >> 10), "r"(0x1ful));
    asm volatile("csrw mepc, %0\n csrc mstatus, %1\n csrs mstatus, %2\n mret" ::"r"((word)high + HIGH), "r"(3ul << 11),
                 "r"(1ul << 11));
}

void first(void) {
    for (word i = 0; !finish; i++) {
        tick();
        if (i % 1000 == 0)
            store(i);
        if (i % 1000 == 500)
            load();
    }
    turn_on_paging();
}

void second(void) {
    for (;;)
        asm volatile("wfi");
}

__attribute__((naked, section(".text.start"))) void start(void) {
    asm volatile("lla sp, stacks + 4096\n"
                 "bnez a0, 1f\n"
                 "j first\n"
                 "1: lui t0, 1\n add sp, sp, t0\n j second");
}
