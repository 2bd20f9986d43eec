// Runs the blocks of a launch one after another, and the warps of a block until they wait for one
// another.
#include <algorithm>
#include <numeric>
#include <random>

#include "faults.hpp"
#include "operations.hpp"
#include "plain.hpp"
#include "run.hpp"
#include "warp_scheduler.hpp"

namespace softgpu {

namespace {

class Scheduler {
  public:
    Scheduler(Machine& machine, const Launch& launch) : m(machine), random(launch.settings.seed) {
        begin_launch(launch);
    }

    std::string run() {
        const u32* grid = m.launch->grid;
        const u64 blocks = u64(grid[0]) * grid[1] * grid[2];
        std::vector<u32> order;
        if (m.settings.seed) {
            order.resize(blocks);
            std::iota(order.begin(), order.end(), 0);
            std::shuffle(order.begin(), order.end(), random);
        }
        for (u64 i = 0; i < blocks && m.fault.empty(); i++)
            run_block(order.empty() ? u32(i) : order[i]);
        if (!m.fault.empty()) m.shared_shadow.clear();  // copies may be under way
        return m.fault;
    }

  private:
    void begin_launch(const Launch& launch);
    void begin_time();
    void lay_out_shared();
    void begin_registers();
    void begin_block(u32 number);
    void run_block(u32 number);
    void run_warps();
    bool pass_barrier();
    void reduce(const Instruction& s);
    void fail_barrier();
    void drop_copies();
    void set_special(Warp& w, s32 offset, Special special, int number);

    Machine& m;
    int warps = 0;  // of a block
    std::mt19937 random;
};

// --- The begin of a launch -----------------------------------------------------------------------

void Scheduler::begin_launch(const Launch& launch) {
    m.launch = &launch;
    m.program = &launch.program;
    m.settings = launch.settings;
    m.fault.clear();
    m.now = nullptr;
    m.threads = int(launch.block[0] * launch.block[1] * launch.block[2]);
    warps = (m.threads + lanes - 1) / lanes;
    m.recent_region.resize(std::max(m.recent_region.size(), m.program->code.size()));
    begin_time();
    lay_out_shared();
    m.local.assign(size_t(m.program->local_bytes) * m.threads, 0xff);
    begin_registers();
}

void Scheduler::begin_time() {
    constexpr u32 late = 1u << 31;
    constexpr size_t large = 256u << 20;
    if (m.time.clock > late || m.global_shadow.size() > large) {
        m.global_shadow.clear();
        m.shared_shadow.clear();
        m.time.clock = 0;
    }
    if (m.shared_shadow.is_split()) m.shared_shadow.clear();
    m.time.launch_begin = m.time.block_begin = m.time.barrier = ++m.time.clock;
    m.releases.begin_launch();
    m.block_numbers.clear();
}

void Scheduler::lay_out_shared() {
    m.variables = m.program->shared;
    const u32 dynamic_at = m.program->dynamic_at, dynamic = m.launch->dynamic_shared;
    if (dynamic) m.variables.push_back({"", dynamic_at, dynamic_at + dynamic});
    u32 end = 0;
    for (const Variable& v : m.variables) end = std::max(end, v.end);
    m.shared.resize(end ? end + red_zone : 0);
    m.shared_map.assign(m.shared.size() / 4 + 1, 0);
    for (const Variable& v : m.variables)
        for (u32 word = (v.begin + 3) / 4; word < v.end / 4; word++) m.shared_map[word] = 1;
}

void Scheduler::set_special(Warp& w, s32 offset, Special special, int number) {
    u8* registers = w.registers.data() + offset;
    const u32 *block = m.launch->block, *grid = m.launch->grid;
    for (int i = 0; i < lanes; i++) {
        const u32 thread = number * lanes + i;
        const u32 rows = thread / block[0];
        const u64 local =
            reinterpret_cast<u64>(m.local.data()) + u64(thread) * m.program->local_bytes;
        const u32 values[] = {
            thread % block[0], rows % block[1], rows / block[1], block[0],   block[1],
            block[2],          m.block[0],      m.block[1],      m.block[2], grid[0],
            grid[1],           grid[2],         u32(i),          u32(number)};
        if (special == Special::local_base)
            reinterpret_cast<u64*>(registers)[i] = local;
        else
            reinterpret_cast<u32*>(registers)[i] = values[int(special)];
    }
}

void Scheduler::begin_registers() {
    if (int(m.warps.size()) < warps) m.warps.resize(warps);
    for (int i = 0; i < warps; i++) {
        Warp& w = m.warps[i];
        w.registers = m.program->registers;
        for (const auto& [offset, special] : m.program->specials)
            set_special(w, offset, special, i);
    }
}

// --- A block
// ---------------------------------------------------------------------------------------

void Scheduler::begin_block(u32 number) {
    block_index(m, number, m.block);
    m.block_numbers.push_back(number);
    m.time.block_begin = m.time.barrier = ++m.time.clock;
    m.releases.begin_block(m.time, m.threads);
    std::fill(m.shared.begin(), m.shared.end(), 0xff);
    for (int i = 0; i < warps; i++) {
        Warp& w = m.warps[i];
        const int own = std::min(lanes, m.threads - i * lanes);
        w.present = own == lanes ? all_lanes : (1u << own) - 1;
        w.groups.assign(1, {0, w.present, Group::ready});
        w.exited = 0;
        w.barriers.begin(m.time.clock);
        std::fill(w.committed, w.committed + lanes, 0);
        w.steps = 0;
        for (const auto& [offset, special] : m.program->specials)
            if (special >= Special::ctaid_x && special <= Special::ctaid_z)
                set_special(w, offset, special, i);
    }
}

void Scheduler::run_block(u32 number) {
    begin_block(number);
    do run_warps();
    while (m.fault.empty() && pass_barrier());
    drop_copies();
}

// Run all warps until they wait for the block or have left: one after another, or now one, now
// another, as the seed says.
void Scheduler::run_warps() {
    if (!m.settings.seed) {
        for (int i = 0; i < warps && m.fault.empty(); i++)
            if (!m.warps[i].groups.empty()) run_warp(m, i, m.settings.most_steps);
        return;
    }
    std::vector<int> ready;
    for (int i = 0; i < warps; i++)
        if (!m.warps[i].groups.empty()) ready.push_back(i);
    while (!ready.empty() && m.fault.empty()) {
        const size_t k = random() % ready.size();
        run_warp(m, ready[k], 1 + random() % 200);
        if (!m.warps[ready[k]].interrupted) ready.erase(ready.begin() + k);
    }
}

// Let the block go on if all its threads wait at one barrier. False if they have left.
bool Scheduler::pass_barrier() {
    s32 at = -1;
    bool together = true;
    u32 exited = 0;
    for (int i = 0; i < warps; i++) {
        Warp& w = m.warps[i];
        exited |= w.exited;
        for (const Group& g : w.groups) {
            if (at < 0) at = g.pc;
            together &= at == g.pc;
        }
    }
    if (at < 0) return false;
    m.now = &m.program->code[at];
    if (!together || (exited && m.settings.strict)) {  // threads of CuPy's scans leave before
        fail_barrier();
        return false;
    }
    if (m.now->operation->run) reduce(*m.now);
    const u32 before = m.time.barrier;
    m.time.barrier = ++m.time.clock;
    m.releases.pass_barrier(before);
    for (int i = 0; i < warps; i++)
        for (Group& g : m.warps[i].groups) g.pc++, g.state = Group::ready;
    return true;
}

// bar.red: the warps learn what the predicates of all threads are.
void Scheduler::reduce(const Instruction& s) {
    m.barrier_count = 0;
    for (int i = 0; i < warps; i++) {
        const u8* p = m.warps[i].registers.data() + s.arg[1];
        for (int lane = 0; lane < lanes; lane++)
            if (m.warps[i].present >> lane & 1)
                m.barrier_count += (reinterpret_cast<const pred*>(p)[lane].bit & 1) ^ s.number;
    }
    for (int i = 0; i < warps; i++) {
        m.registers = m.warps[i].registers.data();
        m.set_mask(m.warps[i].present);
        s.operation->run(m, s);
    }
}

void Scheduler::fail_barrier() {
    std::vector<std::pair<std::string, std::vector<int>>> places;
    const auto add = [&](const std::string& place, int warp, u32 mask) {
        auto found = std::find_if(places.begin(), places.end(),
                                  [&](const auto& p) { return p.first == place; });
        if (found == places.end()) found = places.insert(found, {place, {}});
        for (u32 rest = mask; rest; rest &= rest - 1)
            found->second.push_back(warp * lanes + __builtin_ctz(rest));
    };
    for (int i = 0; i < warps; i++) {
        for (const Group& g : m.warps[i].groups) add("wait at " + where(m, g.pc), i, g.mask);
        if (m.warps[i].exited) add("have left", i, m.warps[i].exited);
    }
    std::string what = "divergent barrier:";
    for (const auto& [place, threads] : places)
        what += text(" %zu threads (the first is %d) ", threads.size(), threads[0]) + place + ",";
    what.pop_back();
    fail_block(m, what);
}

// What was not waited for when its thread left is of no interest to the next block.
void Scheduler::drop_copies() {
    for (int i = 0; i < warps; i++) {
        for (const Copy& c : m.warps[i].copies)
            for (u32 at = c.to; at < c.to + c.bytes; at += 4) m.shared_shadow.word(at) = {};
        m.warps[i].copies.clear();
    }
}

}  // namespace

std::string run(const Launch& launch) {
    static Machine machine;  // it keeps its memory for the next launch
    return Scheduler(machine, launch).run();
}

}  // namespace softgpu
