/* Loads of `cargo xtask bench cpu`: each prints its name, nanoseconds and a checksum.
   Compiled with -O2 -fno-tree-vectorize for the guest and for the host. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static uint64_t seed = 88172645463325252u;
static uint64_t rnd(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Integer, branch and memory. */

static uint64_t sieve(void) {
    enum { N = 2000000 };
    static uint8_t composite[N];
    uint64_t count = 0;
    for (int round = 0; round < 4; round++) {
        memset(composite, 0, N);
        for (uint64_t i = 2; i < N; i++) {
            if (composite[i]) continue;
            count++;
            for (uint64_t j = i * i; j < N; j += i) composite[j] = 1;
        }
    }
    return count;
}

static int less(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t sort(void) {
    enum { N = 300000 };
    static uint64_t v[N];
    for (int i = 0; i < N; i++) v[i] = rnd();
    qsort(v, N, sizeof *v, less);
    return v[N / 2];
}

static int place(int n, uint32_t cols, uint32_t left, uint32_t right) {
    uint32_t all = (1u << n) - 1, free = all & ~(cols | left | right);
    int count = 0;
    if (cols == all) return 1;
    while (free) {
        uint32_t bit = free & -free;
        free ^= bit;
        count += place(n, cols | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    return count;
}

static uint64_t queens(void) { return place(11, 0, 0, 0); }

static uint64_t crc(void) {
    static uint32_t table[256];
    static uint8_t data[1 << 20];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        table[i] = c;
    }
    for (size_t i = 0; i < sizeof data; i++) data[i] = rnd();
    uint32_t c = ~0u;
    for (int round = 0; round < 16; round++)
        for (size_t i = 0; i < sizeof data; i++) c = table[(c ^ data[i]) & 255] ^ c >> 8;
    return ~c;
}

struct node {
    struct node *left, *right;
    uint64_t key;
};

static uint64_t tree(void) {
    enum { N = 60000 };
    static struct node nodes[N];
    struct node *root = &nodes[0];
    uint64_t depth = 0;
    memset(nodes, 0, sizeof nodes);
    root->key = rnd();
    for (int i = 1; i < N; i++) {
        struct node **at = &root;
        nodes[i].key = rnd();
        while (*at) {
            at = nodes[i].key < (*at)->key ? &(*at)->left : &(*at)->right;
            depth++;
        }
        *at = &nodes[i];
    }
    for (int i = 0; i < 300000; i++) {
        uint64_t key = rnd();
        for (struct node *n = root; n; n = key < n->key ? n->left : n->right) depth++;
    }
    return depth;
}

static uint64_t multiply(void) {
    enum { N = 160 };
    static int64_t a[N][N], b[N][N], c[N][N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) a[i][j] = rnd() & 1023, b[i][j] = rnd() & 1023;
    for (int round = 0; round < 6; round++)
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                int64_t s = 0;
                for (int k = 0; k < N; k++) s += a[i][k] * b[k][j];
                c[i][j] += s;
            }
    return c[N / 2][N / 3];
}

static uint64_t fibonacci(unsigned n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
static uint64_t calls(void) {
    volatile unsigned n = 33;
    return fibonacci(n);
}

static uint64_t text(void) {
    enum { N = 1 << 20 };
    static char s[N + 1];
    static unsigned words[4096];
    uint64_t hits = 0;
    for (int i = 0; i < N; i++) s[i] = rnd() % 6 ? 'a' + rnd() % 26 : ' ';
    for (int round = 0; round < 6; round++) {
        uint32_t h = 2166136261u;
        for (int i = 0; i < N; i++) {
            if (s[i] == ' ') {
                hits += words[h & 4095]++;
                h = 2166136261u;
            } else {
                h = (h ^ (uint8_t)s[i]) * 16777619u;
            }
        }
    }
    return hits;
}

/* A checksum of small blocks: table and data stay in the first-level cache. */
static uint32_t small_table[256];
__attribute__((noinline)) static uint32_t crc_of(const uint8_t *p, size_t n) {
    uint32_t c = ~0u;
    while (n--) c = small_table[(c ^ *p++) & 255] ^ c >> 8;
    return ~c;
}

static uint64_t crc_small(void) {
    static uint8_t block[4096];
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        small_table[i] = c;
    }
    for (size_t i = 0; i < sizeof block; i++) block[i] = rnd();
    for (int round = 0; round < 4000; round++) {
        block[round & 4095]++;
        sum += crc_of(block, sizeof block);
    }
    return sum;
}

/* Rounds of a hash like SHA-256, written with shifts: many values live at once. */
static inline uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static uint64_t hash(void) {
    static uint32_t key[64], w[64];
    uint32_t h[8];
    for (int i = 0; i < 64; i++) key[i] = rnd();
    for (int i = 0; i < 8; i++) h[i] = rnd();
    for (int block = 0; block < 20000; block++) {
        for (int i = 0; i < 16; i++) w[i] = (uint32_t)(block * 31 + i) * 2654435761u;
        for (int i = 16; i < 64; i++) {
            uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
                   (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
        }
        uint32_t v[8];
        memcpy(v, h, sizeof v);
        for (int i = 0; i < 64; i++) {
            uint32_t t = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) +
                         ((v[4] & v[5]) ^ (~v[4] & v[6])) + key[i] + w[i];
            uint32_t u = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) +
                         ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            v[7] = v[6], v[6] = v[5], v[5] = v[4], v[4] = v[3] + t;
            v[3] = v[2], v[2] = v[1], v[1] = v[0], v[0] = t + u;
        }
        for (int i = 0; i < 8; i++) h[i] += v[i];
    }
    return (uint64_t)h[0] << 32 | h[4];
}

/* The search for matches of a compressor: hash chains, comparison byte by byte. */
static uint64_t matches(void) {
    enum { N = 1 << 18, BITS = 14 };
    static uint8_t s[N + 16];
    static int32_t head[1 << BITS], previous[N];
    uint64_t total = 0;
    for (int i = 0; i < N; i++) s[i] = "etaoin shrdlu"[rnd() % 13];
    for (int i = 64; i < N; i++)
        if (rnd() % 8 == 0) {
            int from = rnd() % (i - 32);
            for (int k = 0; k < 24 && i < N; k++) s[i++] = s[from + k];
        }
    memset(head, 0xff, sizeof head);
    for (int i = 0; i + 4 < N; i++) {
        uint32_t four = s[i] | s[i + 1] << 8 | s[i + 2] << 16 | (uint32_t)s[i + 3] << 24;
        uint32_t h = four * 2654435761u >> (32 - BITS);
        int best = 3, tries = 16;
        for (int at = head[h]; at >= 0 && tries-- > 0; at = previous[at]) {
            int n = 0, most = N - i < 64 ? N - i : 64;
            if (s[at + best] != s[i + best]) continue;
            while (n < most && s[at + n] == s[i + n]) n++;
            if (n > best) best = n;
        }
        total += best;
        previous[i] = head[h];
        head[h] = i;
    }
    return total;
}

static uint64_t divide(void) {
    uint64_t sum = 0;
    for (uint64_t i = 1; i < 3000000; i++) {
        uint64_t a = rnd(), b = (rnd() >> 40) | 1;
        sum += a / b + a % (i | 1);
    }
    return sum;
}

/* Floating point. */

static uint64_t bits(double d) {
    uint64_t u;
    memcpy(&u, &d, 8);
    return u;
}

/* A root and a maximum that are calls of the C library, which compares numbers quietly. */
static double (*volatile root)(double) = sqrt;
static double (*volatile larger)(double, double) = fmax;

static inline uint64_t bodies(int steps, int by_libm) {
    double p[5][3], v[5][3], m[5], e = 0;
    for (int i = 0; i < 5; i++) {
        m[i] = 1.0 / (i + 1);
        for (int k = 0; k < 3; k++) p[i][k] = (double)((i * 7 + k * 3) % 11) + 0.1, v[i][k] = 0.01 * (k - 1) * i;
    }
    for (int step = 0; step < steps; step++) {
        for (int i = 0; i < 5; i++)
            for (int j = i + 1; j < 5; j++) {
                double d[3], r = 0.01;
                for (int k = 0; k < 3; k++) d[k] = p[i][k] - p[j][k], r += d[k] * d[k];
                if (by_libm) r = larger(r, 0.02);
                double f = 0.001 / (r * (by_libm ? root(r) : __builtin_sqrt(r)));
                for (int k = 0; k < 3; k++) v[i][k] -= d[k] * m[j] * f, v[j][k] += d[k] * m[i] * f;
            }
        for (int i = 0; i < 5; i++)
            for (int k = 0; k < 3; k++) p[i][k] += 0.001 * v[i][k];
    }
    for (int i = 0; i < 5; i++) e += p[i][0] * v[i][1];
    return bits(e);
}

static uint64_t nbody(void) { return bodies(200000, 0); }
static uint64_t libm(void) { return bodies(50000, 1); }

static uint64_t mandelbrot(void) {
    uint64_t sum = 0;
    for (int y = 0; y < 200; y++)
        for (int x = 0; x < 200; x++) {
            double cr = x / 100.0 - 1.5, ci = y / 100.0 - 1.0, r = 0, i = 0;
            int n = 0;
            while (n < 200 && r * r + i * i < 4.0) {
                double t = r * r - i * i + cr;
                i = 2 * r * i + ci;
                r = t;
                n++;
            }
            sum += n;
        }
    return sum;
}

static uint64_t fir(void) {
    enum { N = 1 << 16, TAPS = 32 };
    static float in[N + TAPS], out[N], taps[TAPS];
    float s = 0;
    for (int i = 0; i < N + TAPS; i++) in[i] = (float)(rnd() & 4095) / 4096.0f;
    for (int i = 0; i < TAPS; i++) taps[i] = 1.0f / (float)(i + 1);
    for (int round = 0; round < 5; round++)
        for (int i = 0; i < N; i++) {
            float a = 0;
            for (int k = 0; k < TAPS; k++) a += in[i + k] * taps[k];
            out[i] = a;
        }
    for (int i = 0; i < N; i++) s += out[i];
    return bits(s);
}

static uint64_t matrix(void) {
    enum { N = 160 };
    static double a[N][N], b[N][N], c[N][N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) a[i][j] = (double)(rnd() & 1023) / 7, b[i][j] = (double)(rnd() & 1023) / 3;
    for (int round = 0; round < 4; round++)
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++)
                for (int j = 0; j < N; j++) c[i][j] += a[i][k] * b[k][j];
    return bits(c[N / 2][N / 3]);
}

static uint64_t spectral(void) {
    enum { N = 300 };
    static double u[N], v[N];
    for (int i = 0; i < N; i++) u[i] = 1;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < N; i++) {
            double s = 0;
            for (int j = 0; j < N; j++) s += u[j] / ((i + j) * (i + j + 1) / 2 + i + 1);
            v[i] = s;
        }
        for (int i = 0; i < N; i++) {
            double s = 0;
            for (int j = 0; j < N; j++) s += v[j] / ((i + j) * (i + j + 1) / 2 + j + 1);
            u[i] = s;
        }
    }
    return bits(u[N / 2]);
}

static const struct {
    const char *name;
    uint64_t (*run)(void);
} loads[] = {
    {"int sieve", sieve},       {"int sort", sort},       {"int queens", queens},
    {"int crc", crc},           {"int tree", tree},       {"int multiply", multiply},
    {"int calls", calls},       {"int text", text},       {"int divide", divide},
    {"int crc of 4 KiB", crc_small}, {"int hash", hash},  {"int matches", matches},
    {"fp nbody", nbody},        {"fp nbody by libm", libm}, {"fp mandelbrot", mandelbrot},
    {"fp fir", fir},            {"fp matrix", matrix},    {"fp spectral", spectral},
};

/* With an argument: only the loads whose names it is a part of. */
int main(int argc, char **argv) {
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
        if (argc > 1 && !strstr(loads[i].name, argv[1])) continue;
        uint64_t start = now(), sum = loads[i].run();
        printf("LOAD %s: %llu %016llx\n", loads[i].name, (unsigned long long)(now() - start), (unsigned long long)sum);
        fflush(stdout);
    }
    return 0;
}
