// The table of instructions: what the parser asks for, and what the engine calls.
#pragma once

#include <string>

#include "program.hpp"

namespace softgpu {

struct Machine;  // machine.hpp

// How the scheduler takes an instruction.
enum class Kind : u8 {
    plain,  // all active lanes do it, and go on
    branch,
    leave,          // ret, exit
    block_barrier,  // waits for the block
    warp_sync       // waits for the lanes of a mask
};

struct Operation {
    std::string name;
    void (*run)(Machine&, const Instruction&);
    Kind kind;
    // Of plain arithmetic: the widths of its operands, the result first, as letters: p a predicate,
    // h 2 bytes, w 4 bytes, d 8 bytes. Empty where translate.cpp knows the operands by the name.
    std::string widths;
    int mask = -1;  // of warp_sync: where among its registers the mask stands; -1: all lanes
};

// The operation of a name, or null. Names are those of PTX, with these exceptions, which stand for
// families of instructions: "ld", "st", "ld.param", "cp.async". Atomics are "atom.OP.TYPE" (red is
// an atom whose result nobody reads). Pieces of registers (mov.b64 {a, b}, x and back) are "low64",
// "high64", "join64", and the same with 32 and 16. Fences are "fence". A thing without effect
// (bar.warp.sync is none) is "nothing".
const Operation* find_operation(const std::string& name);

}  // namespace softgpu
