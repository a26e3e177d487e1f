// CUDA C on a CPU, one thread after another: enough of it for the kernels that are printed.
//
// A thread runs until it waits for its block or its warp, or ends; which one runs next is random,
// so a barrier that is missing is seen. A shuffle in which not all 32 threads take part, and a
// barrier that not all threads reach, end the launch with an error.
#include <cmath>
#include <cstring>
#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static

using std::exp, std::expm1, std::fabs, std::log, std::log1p, std::sqrt, std::tanh;

struct Dimensions {
    unsigned int x, y;
};
static Dimensions gridDim, blockDim, blockIdx, threadIdx;

enum State { READY, AT_BLOCK, AT_WARP, DONE };
static const unsigned int MOST = 1024, STACK = 1 << 16;
static State states[MOST];
static ucontext_t scheduler, contexts[MOST];
static char stacks[MOST][STACK];
static double slots[MOST];
static unsigned int current, seed = 1;
static void (*body)(void**);
static void** arguments;

static void wait(State state) {
    states[current] = state;
    swapcontext(&contexts[current], &scheduler);
}

static void __syncthreads() { wait(AT_BLOCK); }
static void __threadfence() {}

template <class T> T __shfl_xor_sync(unsigned int, T x, int n) {
    std::memcpy(&slots[current], &x, sizeof x);
    wait(AT_WARP);
    std::memcpy(&x, &slots[current ^ n], sizeof x);
    wait(AT_WARP);
    return x;
}

static unsigned int atomicInc(unsigned int* address, unsigned int most) {
    const unsigned int old = *address;
    *address = old >= most ? 0 : old + 1;
    return old;
}

static double __longlong_as_double(long long bits) {
    double x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

static void thread() {
    body(arguments);
    states[current] = DONE;
}

static bool release(unsigned int first, unsigned int count, State state) {
    for (unsigned int n = first; n < first + count; ++n)
        if (states[n] != state) return false;
    for (unsigned int n = first; n < first + count; ++n) states[n] = READY;
    return true;
}

static bool run_block() {
    const unsigned int threads = blockDim.x * blockDim.y;
    for (unsigned int n = 0; n < threads; ++n) {
        getcontext(&contexts[n]);
        contexts[n].uc_stack.ss_sp = stacks[n];
        contexts[n].uc_stack.ss_size = STACK;
        contexts[n].uc_link = &scheduler;
        makecontext(&contexts[n], thread, 0);
        states[n] = READY;
    }
    unsigned int held = 0;  // warps that have to wait this time
    while (true) {
        bool ran = false;
        seed = seed * 1664525u + 1013904223u;
        const unsigned int start = seed >> 8, step = 2 * (seed >> 20) + 1;
        for (unsigned int n = 0; n < threads; ++n) {
            current = (start + n * step) % threads;  // all of them: `threads` is a power of two
            if (states[current] != READY || held >> current / 32 & 1) continue;
            threadIdx = {current % blockDim.x, current / blockDim.x};
            swapcontext(&scheduler, &contexts[current]);
            ran = true;
        }
        const bool all = held == 0;
        held = ran ? seed >> 16 : 0;
        if (ran || !all) continue;
        bool released = false, done = true;
        for (unsigned int n = 0; n < threads; n += 32) released |= release(n, 32, AT_WARP);
        for (unsigned int n = 0; n < threads; ++n) done &= states[n] == DONE;
        if (done) return true;
        if (!released && !release(0, threads, AT_BLOCK)) return false;
    }
}

static int launch(Dimensions grid, Dimensions block, void (*kernel)(void**), void** given) {
    gridDim = grid, blockDim = block, body = kernel, arguments = given;
    for (unsigned int n = grid.x * grid.y; n-- > 0;) {
        blockIdx = {n % grid.x, n / grid.x};
        if (!run_block()) return 1;
    }
    return 0;
}
