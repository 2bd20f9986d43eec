// Runs the blocks of a launch, a fiber for each thread, and checks every access on the way.
//
// A block's threads are fibers on stacks of their own. A fiber runs until it waits at a barrier of
// its block or its warp; when all that take part have come, they go on. So a kernel runs on one
// host thread, and always in the same order. What that order would hide is found by rule:
//
// * Two accesses to the same bytes by different threads, one of them a write, are a race unless a
//   barrier lies between them: of the block, or of the warp for two lanes of one warp. For two
//   blocks nothing does, but an atomic operation after a fence. Each granule of memory remembers
//   who wrote it last and who has read it since, and at which barrier.
// * A read of shared memory that its block has not written is a read of garbage.
// * cp.async writes when it is waited for; until then the bytes are neither to be read nor written.
// * An address must lie in an argument of the launch, in shared memory or on the thread's stack,
//   and be a multiple of the access size.
// * All threads of a block must come to the same barrier.
#include <dlfcn.h>
#include <link.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

struct Dim {
    unsigned x, y, z;
};

// --- Fibers --------------------------------------------------------------------------------------

constexpr size_t stack_bytes = 256 << 10;

#if defined(__x86_64__)
extern "C" void emulator_switch(void** save, void* load);
asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulator_switch, .-emulator_switch
)");
using Context = void*;
void prepare(Context& context, char* stack, void (*start)()) {
    void** top = reinterpret_cast<void**>(stack + stack_bytes);
    top[-1] = nullptr;  // where `start` would return to
    top[-2] = reinterpret_cast<void*>(start);
    std::fill(top - 8, top - 2, nullptr);  // the six saved registers
    context = top - 8;
}
void change(Context& from, Context& to) { emulator_switch(&from, to); }
#else
using Context = ucontext_t;
void prepare(Context& context, char* stack, void (*start)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = stack_bytes;
    context.uc_link = nullptr;
    makecontext(&context, start, 0);
}
void change(Context& from, Context& to) { swapcontext(&from, &to); }
#endif

enum class State { ready, at_block_barrier, at_warp_barrier, done };

struct Copy {
    char* to;
    const char* from;
    int bytes;
    bool valid;
};

struct Fiber {
    Context context;
    char* stack = nullptr;
    State state;
    unsigned mask;     // of the warp barrier that it waits at
    const char* file;  // where it waits
    int line;
    std::vector<std::vector<Copy>> groups;  // committed copies, oldest first; the last is open
};

struct Warp {
    unsigned epoch = 0;     // barriers of the warp so far
    unsigned exchanges = 0;  // which of the two buffers is next
    alignas(64) char shown[2][32 * 64];
};

// --- Memory --------------------------------------------------------------------------------------

struct Access {
    unsigned block = 0;  // serial number of the block, from 1
    unsigned epoch = 0, warp_epoch = 0;
    unsigned short thread = 0;
};

struct Granule {
    Access write, read;
    bool pending = false;      // a copy is under way
    bool atomic = false;       // the last write was an atomic operation
    bool other_lanes = false;  // read by several lanes of a warp since the same warp barrier
    bool other_warps = false;  // read by several warps since the same block barrier
    bool other_blocks = false;
};

struct Region {
    const char* name;
    char *begin, *end;
    int granule;
    bool shared;
    std::vector<Granule> granules;
};

struct Block {
    Dim index;
    unsigned serial = 0, epoch = 0;
    std::set<unsigned> seen;  // blocks whose writes an atomic operation has made visible
    bool fenced = false;
};

struct Launch {
    void (*entry)(void**);
    void** arguments;
    Dim grid, size;
    std::vector<Region> regions;
    std::vector<std::pair<char*, char*>> constants;  // read-only parts of the kernel's library
    std::map<void*, std::set<unsigned>> released;
};

std::vector<Fiber> fibers;
std::vector<Warp> warps;
std::vector<char> shared_memory;
Launch launch;
Block block;
Context scheduler;
int current = -1;
bool failed;
std::string report;
const char* library_base;

[[noreturn]] void leave() {
    change(fibers[current].context, scheduler);
    __builtin_unreachable();
}

// Note what is wrong and end the launch: the fibers are never resumed.
[[noreturn]] __attribute__((format(printf, 2, 3))) void fail(const void* pc, const char* text, ...) {
    char line[1024];
    va_list values;
    va_start(values, text);
    vsnprintf(line, sizeof line, text, values);
    va_end(values);
    char place[160];
    snprintf(place, sizeof place, "block (%u, %u, %u), thread %d: ", block.index.x, block.index.y,
             block.index.z, current);
    report = std::string(place) + line;
    if (pc) {
        char at[64];
        snprintf(at, sizeof at, " @%lx", static_cast<long>(static_cast<const char*>(pc) -
                                                          library_base));
        report += at;
    }
    failed = true;
    leave();
}

Region* region_of(const char* p) {
    for (Region& region : launch.regions)
        if (p >= region.begin && p < region.end) return &region;
    return nullptr;
}

bool on_own_stack(const char* p) {
    const char* stack = fibers[current].stack;
    return p >= stack && p < stack + stack_bytes;
}

Access now() {
    return {block.serial, block.epoch, warps[current / 32].epoch,
            static_cast<unsigned short>(current)};
}

// Whether what another access did is known to this thread.
bool is_ordered(const Access& before) {
    if (!before.block) return true;
    if (before.block != block.serial) return block.seen.count(before.block);
    if (before.thread == current || before.epoch != block.epoch) return true;
    return before.thread / 32 == current / 32 && before.warp_epoch != warps[current / 32].epoch;
}

bool readers_are_ordered(const Granule& g) {
    if (!g.read.block) return true;
    if (g.other_blocks) return false;
    if (g.read.block == block.serial && g.read.epoch == block.epoch) {
        if (g.other_warps) return false;
        if (g.other_lanes && g.read.warp_epoch == warps[current / 32].epoch) return false;
    }
    return is_ordered(g.read);
}

void note_read(Granule& g) {
    const Access reader = now(), last = g.read;
    if (last.block && last.block != reader.block) {
        g.other_blocks = true;
    } else if (last.block && last.epoch == reader.epoch) {
        if (last.thread / 32 != reader.thread / 32) g.other_warps = true;
        else if (last.warp_epoch != reader.warp_epoch) g.other_lanes = false;
        else if (last.thread != reader.thread) g.other_lanes = true;
    } else {
        g.other_warps = g.other_lanes = false;
    }
    g.read = reader;
}

enum class Kind { read, write, copy, atomic };

void check(const void* address, size_t bytes, Kind kind, const void* pc) {
    char* p = static_cast<char*>(const_cast<void*>(address));
    if (current < 0 || on_own_stack(p)) return;
    const char* verb = kind == Kind::read ? "reads" : "writes";
    Region* region = region_of(p);
    if (!region) {
        for (auto& [begin, end] : launch.constants)
            if (kind == Kind::read && p >= begin && p + bytes <= end) return;
        const char* shown = &warps[0].shown[0][0];
        if (p >= shown && p < reinterpret_cast<const char*>(&warps.back() + 1)) return;
        const Region* near = nullptr;
        for (const Region& r : launch.regions)
            if (p >= r.begin - 4096 && p < r.end + 4096) near = &r;
        if (near)
            fail(pc, "out of bounds: %s %zu bytes at byte %ld of %s, which has %ld", verb, bytes,
                 static_cast<long>(p - near->begin), near->name,
                 static_cast<long>(near->end - near->begin));
        fail(pc, "out of bounds: %s %zu bytes at %p, which is no argument", verb, bytes, address);
    }
    const long at = p - region->begin;
    if (p + bytes > region->end)
        fail(pc, "out of bounds: %s %zu bytes at byte %ld of %s, which has %ld", verb, bytes, at,
             region->name, static_cast<long>(region->end - region->begin));
    for (long i = at / region->granule; i <= long(at + bytes - 1) / region->granule; i++) {
        Granule& g = region->granules[i];
        const bool own_block = g.write.block == block.serial;
        if (g.pending && own_block)
            fail(pc, "cp.async under way: %s byte %ld of %s, which thread %d has not waited for",
                 verb, at, region->name, g.write.thread);
        if (kind == Kind::read) {
            if (region->shared && !own_block)
                fail(pc, "uninitialised: reads byte %ld of %s, which its block has not written",
                     at, region->name);
            if (!is_ordered(g.write))
                fail(pc, "race: reads byte %ld of %s, which thread %d%s wrote with no barrier "
                     "between", at, region->name, g.write.thread,
                     own_block ? "" : " of another block");
            note_read(g);
            continue;
        }
        if (region->shared && !own_block) g = Granule();
        if (!is_ordered(g.write) && !(g.atomic && kind == Kind::atomic))
            fail(pc, "race: writes byte %ld of %s, which thread %d%s wrote with no barrier between",
                 at, region->name, g.write.thread, own_block ? "" : " of another block");
        if (!readers_are_ordered(g))
            fail(pc, "race: writes byte %ld of %s, which thread %d%s read with no barrier between",
                 at, region->name, g.read.thread,
                 g.read.block == block.serial ? "" : " of another block");
        g.write = now();
        g.read = Access();
        g.other_lanes = g.other_warps = g.other_blocks = false;
        g.pending = kind == Kind::copy;
        g.atomic = kind == Kind::atomic;
    }
}

void aligned(const void* address, size_t bytes, Kind kind, const void* pc) {
    if (current >= 0 && reinterpret_cast<uintptr_t>(address) % bytes)
        fail(pc, "misaligned: %s %zu bytes at %p, no multiple of %zu",
             kind == Kind::read ? "reads" : "writes", bytes, address, bytes);
    check(address, bytes, kind, pc);
}

// --- Barriers ------------------------------------------------------------------------------------

void wait(State state, unsigned mask, const char* file, int line) {
    Fiber& fiber = fibers[current];
    fiber.state = state;
    fiber.mask = mask;
    fiber.file = file;
    fiber.line = line;
    change(fiber.context, scheduler);
}

const char* name(const char* path) {
    const char* slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// Let the lanes of a warp go on that have all come to the same barrier of the warp.
bool release_warp(int first, int count) {
    for (int lane = 0; lane < count; lane++) {
        Fiber& leader = fibers[first + lane];
        if (leader.state != State::at_warp_barrier) continue;
        bool complete = true;
        for (int other = 0; other < count; other++)
            if (leader.mask >> other & 1) {
                const Fiber& f = fibers[first + other];
                complete &= f.state == State::at_warp_barrier && f.mask == leader.mask &&
                            f.line == leader.line && !strcmp(f.file, leader.file);
            }
        if (!complete) continue;
        for (int other = 0; other < count; other++)
            if (leader.mask >> other & 1) fibers[first + other].state = State::ready;
        return true;
    }
    return false;
}

void explain_deadlock() {
    std::map<std::string, std::vector<int>> places;
    for (size_t i = 0; i < fibers.size(); i++) {
        const Fiber& f = fibers[i];
        std::string place = "the end of the kernel";
        if (f.state != State::done)
            place = std::string(f.state == State::at_block_barrier ? "__syncthreads" : "a warp "
                                "barrier") + " at " + name(f.file) + ":" + std::to_string(f.line);
        places[place].push_back(static_cast<int>(i));
    }
    char text[96];
    snprintf(text, sizeof text, "block (%u, %u, %u): divergent barrier:", block.index.x,
             block.index.y, block.index.z);
    report = text;
    for (auto& [place, threads] : places)
        report += " " + std::to_string(threads.size()) + " threads (first: " +
                  std::to_string(threads[0]) + ") wait at " + place + ";";
    report.pop_back();
    failed = true;
}

void run_fiber() {
    launch.entry(launch.arguments);
    fibers[current].state = State::done;
    leave();
}

// Run the block; false if something is wrong.
bool run_block() {
    const int count = static_cast<int>(fibers.size());
    for (Fiber& fiber : fibers) {
        prepare(fiber.context, fiber.stack, run_fiber);
        fiber.state = State::ready;
        fiber.groups.assign(1, {});
    }
    for (Warp& warp : warps) warp.epoch = warp.exchanges = 0;
    for (;;) {
        for (int first = 0; first < count; first += 32) {
            const int lanes = std::min(32, count - first);
            for (bool more = true; more; more = release_warp(first, lanes))
                for (int lane = 0; lane < lanes; lane++) {
                    if (fibers[first + lane].state != State::ready) continue;
                    current = first + lane;
                    change(scheduler, fibers[current].context);
                    if (failed) return false;
                }
        }
        int waiting = 0, done = 0;
        for (const Fiber& f : fibers) {
            done += f.state == State::done;
            waiting += f.state == State::at_block_barrier && f.line == fibers[0].line &&
                       !strcmp(f.file, fibers[0].file);
        }
        if (done == count) return true;
        if (waiting != count) {
            explain_deadlock();
            return false;
        }
        for (Fiber& f : fibers) f.state = State::ready;
        block.epoch++;
    }
}

}  // namespace

// --- What kernels call ---------------------------------------------------------------------------

struct dim3 {
    unsigned x, y, z;
};

namespace emulator {

dim3 thread_index() { return {static_cast<unsigned>(current), 0, 0}; }
dim3 block_index() { return {block.index.x, block.index.y, block.index.z}; }
dim3 block_size() { return {launch.size.x, launch.size.y, launch.size.z}; }
dim3 grid_size() { return {launch.grid.x, launch.grid.y, launch.grid.z}; }
void* dynamic_shared() { return shared_memory.data() + (128 - reinterpret_cast<uintptr_t>(
                                                              shared_memory.data()) % 128) % 128; }

void block_barrier(const char* file, int line) { wait(State::at_block_barrier, 0, file, line); }

const void* exchange(const void* mine, int size, unsigned mask, const char* file, int line) {
    Warp& warp = warps[current / 32];
    char* shown = warp.shown[warp.exchanges % 2];
    const int lane = current % 32;
    if (!(mask >> lane & 1)) fail(nullptr, "lane %d is not in its own mask %08x", lane, mask);
    memcpy(shown + lane * size, mine, size);
    wait(State::at_warp_barrier, mask, file, line);
    // The first lane to go on makes the other buffer the next one.
    if (shown == warp.shown[warp.exchanges % 2]) warp.exchanges++;
    return shown;
}

void warp_barrier(unsigned mask, const char* file, int line) {
    Warp& warp = warps[current / 32];
    const unsigned before = warp.epoch;
    wait(State::at_warp_barrier, mask, file, line);
    if (warp.epoch == before) warp.epoch++;  // the first lane to go on
}

void fence() { block.fenced = true; }

void cp_async(void* shared, const void* global, int bytes, bool valid) {
    const void* pc = __builtin_return_address(0);
    if (reinterpret_cast<uintptr_t>(shared) % bytes)
        fail(pc, "misaligned: cp.async of %d bytes to %p", bytes, shared);
    const Region* to = region_of(static_cast<char*>(shared));
    if (!to || !to->shared) fail(pc, "cp.async to %p, which is not shared memory", shared);
    if (valid) aligned(global, bytes, Kind::read, pc);
    check(shared, bytes, Kind::copy, pc);
    fibers[current].groups.back().push_back(
        {static_cast<char*>(shared), static_cast<const char*>(global), bytes, valid});
}

void cp_async_commit() { fibers[current].groups.emplace_back(); }

void cp_async_wait(int pending) {
    auto& groups = fibers[current].groups;
    while (static_cast<int>(groups.size()) - 1 > pending) {
        for (const Copy& copy : groups.front()) {
            if (copy.valid) memcpy(copy.to, copy.from, copy.bytes);
            else memset(copy.to, 0, copy.bytes);
            Region* region = region_of(copy.to);
            const long at = copy.to - region->begin;
            for (long i = at / region->granule; i <= (at + copy.bytes - 1) / region->granule; i++) {
                region->granules[i].pending = false;
                region->granules[i].write = now();
            }
        }
        groups.erase(groups.begin());
    }
}

void atomic_access(void* address, int bytes) {
    check(address, bytes, Kind::atomic, __builtin_return_address(0));
    const Region* region = region_of(static_cast<char*>(address));
    if (!region || region->shared) return;
    auto& released = launch.released[address];
    block.seen.insert(released.begin(), released.end());
    if (block.fenced) released.insert(block.serial);
}

void require_aligned(const void* address, int bytes) {
    if (reinterpret_cast<uintptr_t>(address) % bytes)
        fail(__builtin_return_address(0), "misaligned: %d bytes at %p, no multiple of %d", bytes,
             address, bytes);
}

}  // namespace emulator

// --- What the compiler calls ---------------------------------------------------------------------

extern "C" {

#define PC __builtin_return_address(0)
#define SIZED(n)                                                                     \
    void __tsan_read##n(void* p) { aligned(p, n, Kind::read, PC); }                  \
    void __tsan_write##n(void* p) { aligned(p, n, Kind::write, PC); }                \
    void __tsan_volatile_read##n(void* p) { aligned(p, n, Kind::read, PC); }         \
    void __tsan_volatile_write##n(void* p) { aligned(p, n, Kind::write, PC); }       \
    void __tsan_unaligned_read##n(void* p) { check(p, n, Kind::read, PC); }          \
    void __tsan_unaligned_write##n(void* p) { check(p, n, Kind::write, PC); }
SIZED(1)
SIZED(2)
SIZED(4)
SIZED(8)
SIZED(16)
void __tsan_read_range(void* p, size_t n) { check(p, n, Kind::read, PC); }
void __tsan_write_range(void* p, size_t n) { check(p, n, Kind::write, PC); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}

struct Source {
    const char* file;
    uint32_t line, column;
};
#define UNDEFINED(handler, ...)                                                            \
    void __ubsan_handle_##handler(const Source* at, ##__VA_ARGS__) {                       \
        if (current >= 0) fail(nullptr, "undefined: " #handler " (%s:%u)", name(at->file), \
                               at->line);                                                  \
    }
void __ubsan_handle_out_of_bounds(const Source* at, uintptr_t index) {
    if (current >= 0)
        fail(nullptr, "out of bounds: index %ld of an array (%s:%u)", static_cast<long>(index),
             name(at->file), at->line);
}
UNDEFINED(add_overflow, uintptr_t, uintptr_t)
UNDEFINED(sub_overflow, uintptr_t, uintptr_t)
UNDEFINED(mul_overflow, uintptr_t, uintptr_t)
UNDEFINED(negate_overflow, uintptr_t)
UNDEFINED(divrem_overflow, uintptr_t, uintptr_t)
UNDEFINED(shift_out_of_bounds, uintptr_t, uintptr_t)

// --- What the launcher calls ---------------------------------------------------------------------

struct Argument {
    const char* name;
    char* begin;
    size_t bytes;
    int granule;
};

// Run a kernel; returns null, or a text that says what is wrong (at most until the next call).
const char* emulator_launch(void (*entry)(void**), void** arguments, const Dim* grid,
                            unsigned threads, size_t shared, const Argument* buffers, int count) {
    failed = false;
    report.clear();
    current = -1;
    shared_memory.assign(shared + 128, 0x7f);
    launch = Launch{entry, arguments, *grid, Dim{threads, 1, 1}, {}, {}, {}};
    for (int i = 0; i < count; i++) {
        const Argument& a = buffers[i];
        launch.regions.push_back({a.name, a.begin, a.begin + a.bytes, a.granule, false,
                                  std::vector<Granule>(a.bytes / a.granule + 1)});
    }
    char* dynamic = static_cast<char*>(emulator::dynamic_shared());
    launch.regions.push_back({"dynamic shared memory", dynamic, dynamic + shared, 2, true,
                              std::vector<Granule>(shared / 2 + 1)});
    Dl_info info;
    dladdr(reinterpret_cast<void*>(entry), &info);
    library_base = static_cast<const char*>(info.dli_fbase);
    dl_iterate_phdr(
        [](dl_phdr_info* object, size_t, void*) {
            char* base = reinterpret_cast<char*>(object->dlpi_addr);
            if (base != library_base) return 0;
            for (int i = 0; i < object->dlpi_phnum; i++) {
                const auto& segment = object->dlpi_phdr[i];
                if (segment.p_type != PT_LOAD) continue;
                char* begin = base + segment.p_vaddr;
                char* end = begin + segment.p_memsz;
                if (segment.p_flags & PF_W)
                    launch.regions.push_back({"static shared memory", begin, end, 1, true,
                                              std::vector<Granule>(segment.p_memsz + 1)});
                else
                    launch.constants.emplace_back(begin, end);
            }
            return 1;
        },
        nullptr);
    while (fibers.size() > threads) {
        munmap(fibers.back().stack, stack_bytes);
        fibers.pop_back();
    }
    while (fibers.size() < threads) {
        fibers.emplace_back();
        fibers.back().stack = static_cast<char*>(mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE,
                                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    }
    warps.resize((threads + 31) / 32);
    unsigned serial = 0;
    for (unsigned z = 0; z < grid->z && !failed; z++)
        for (unsigned y = 0; y < grid->y && !failed; y++)
            for (unsigned x = 0; x < grid->x && !failed; x++) {
                block = Block{{x, y, z}, ++serial, 0, {}, false};
                run_block();
            }
    current = -1;
    return failed ? report.c_str() : nullptr;
}

}  // extern "C"
