// The state of a launch, on which operations work. There is one machine: launches take turns.
#pragma once

#include <string>
#include <vector>

#include "program.hpp"
#include "races.hpp"
#include "releases.hpp"
#include "run.hpp"

namespace softgpu {

// Lanes of a warp that stand at the same instruction.
struct Group {
    enum State : u8 { ready, at_warp_sync, at_block_barrier };
    s32 pc;
    u32 mask;
    State state;
};

// A cp.async that has been issued and not waited for.
struct Copy {
    u64 from;
    u32 to;            // in shared memory
    u32 bytes, taken;  // the rest is filled with zeros
    u32 tick;          // when it was issued
    u32 group;         // the number of its group among those of its thread
    int lane;
};

struct Warp {
    std::vector<u8> registers;
    std::vector<Group> groups;
    u32 present = 0;  // the lanes that began
    u32 exited = 0;
    WarpBarriers barriers;
    std::vector<Copy> copies;
    u32 committed[lanes] = {};  // groups of copies, of each lane
    u32 carry[lanes] = {};      // the carry flag, CC.CF
    s64 steps = 0;              // instructions so far
    bool interrupted = false;   // it could go on
};

struct Machine {
    const Launch* launch = nullptr;
    const Program* program = nullptr;
    Settings settings;
    std::string fault;  // empty while all is well

    // The block that runs
    u32 block[3] = {};
    int threads = 0;
    std::vector<Warp> warps;          // more than the block has if an earlier one was larger
    std::vector<u8> shared;           // as Program lays it out
    std::vector<Variable> variables;  // the program's, and dynamic shared memory
    std::vector<u8> shared_map;       // of each 4 bytes: 1 if they are wholly in a variable
    std::vector<u8> local;            // of all threads, one after another
    u32 barrier_count = 0;            // of bar.red: threads whose predicate is true

    // Who touched which memory, and when
    Timeline time;
    Shadow global_shadow, shared_shadow;
    Releases releases;
    std::vector<u32> block_numbers;  // of the blocks that have begun, in their order
    std::vector<u32> recent_region;  // of each instruction: where its last access was

    // The instruction that runs, and the lanes that do it
    const Instruction* now = nullptr;
    Warp* warp = nullptr;
    int warp_number = 0;
    u8* registers = nullptr;
    u32 mask = 0;
    bool full = false;       // all lanes do it
    u32 active[lanes] = {};  // the mask as numbers, for loops over lanes

    int thread(int lane) const { return warp_number * lanes + lane; }

    // Let these lanes do what comes.
    void set_mask(u32 to) {
        if (mask == to) return;
        mask = to;
        full = to == all_lanes;
        for (int i = 0; i < lanes; i++) active[i] = to >> i & 1;
    }
};

// A register: an array of 32 lanes.
template <typename T>
T* reg(const Machine& m, s32 offset) {
    return reinterpret_cast<T*>(m.registers + offset);
}

}  // namespace softgpu
