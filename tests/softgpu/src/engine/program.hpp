// A kernel as the parser makes it (translate.cpp) and as the engine runs it (run.hpp).
//
// Registers: a warp has a file of bytes, in which a register is an array of 32 lanes, each of the
// register's width (2, 4, 8 or 16 bytes; a predicate is a 4-byte 0 or 1). An operand is the offset
// of its register in that file. Constants are registers too, which nobody writes.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "types.hpp"

namespace softgpu {

struct Operation;  // operations.hpp

enum class Space : u8 { global, shared, local, generic };

// Where an access of memory goes: what the base register holds, and an offset.
struct Address {
    s32 base = -1;
    u8 base_bytes = 8;  // 4 or 8
    Space space = Space::generic;
    s64 offset = 0;
};

// One instruction.
struct Instruction {
    const Operation* operation = nullptr;
    s32 guard = -1;  // the predicate of @p; -1: none
    bool guard_negated = false;
    s32 statement = 0;  // in Program::statements
    // Registers in the order of PTX's operands, results first, vectors one by one; -1: none. An
    // address is no register: it stands in `address` (and the source of cp.async in `source`).
    std::array<s32, 14> arg;
    s32 target = -1;  // of a branch: the index of an instruction
    Address address, source;
    // Of ld, st, ld.param and cp.async
    u8 elements = 1;        // of a vector
    u8 element_bytes = 4;   // of one in memory; for cp.async: of the whole copy
    u8 register_bytes = 4;  // of the registers that hold them
    bool is_signed = false;
    bool read_only = false;  // ld.global.nc
    u32 used_bytes = ~0u;    // which bytes of a load count (.pragma "used_bytes_mask")
    // Of ld.param: the offset among the parameters; of cp.async.wait_group: groups that may stay
    // under way; of vote: 1 if the predicate is negated; of bar.red: the same
    s32 number = 0;

    Instruction() { arg.fill(-1); }
};

// A line of the source. An instruction has several if functions are inlined: the innermost first.
struct SourceLine {
    s32 file = -1;  // in Program::files
    s32 line = 0;
};

struct Statement {
    std::string text;
    std::vector<SourceLine> lines;  // empty if the PTX has no .loc
};

struct Parameter {
    std::string name;
    s32 offset = 0, size = 0;
};

// A variable in shared memory.
struct Variable {
    std::string name;
    u32 begin = 0, end = 0;
};

// A register that is not computed, but given to a thread at its start.
enum class Special : u8 {
    tid_x,
    tid_y,
    tid_z,
    ntid_x,
    ntid_y,
    ntid_z,
    ctaid_x,
    ctaid_y,
    ctaid_z,
    nctaid_x,
    nctaid_y,
    nctaid_z,
    laneid,
    warpid,
    local_base  // 8 bytes: where the thread's local memory begins
};

struct Program {
    std::string name;  // as mangled in the PTX
    std::vector<Instruction> code;
    std::vector<Statement> statements;
    std::vector<std::string> files;
    std::vector<u8> registers;  // the file of a warp at its start: constants, and poison elsewhere
    std::vector<std::pair<s32, Special>> specials;
    std::vector<Parameter> parameters;
    s32 parameter_bytes = 0;
    // Shared memory as the engine lays it out: red zones between variables find what leaves one.
    std::vector<Variable> shared;
    u32 dynamic_at = 0;       // where dynamic shared memory begins, after all others
    s32 static_shared = 0;    // bytes without the red zones, as the assembler packs them
    s32 local_bytes = 0;      // of a thread
    s32 most_threads = 1024;  // of a block: .maxntid
};

constexpr u32 red_zone = 64;  // bytes between two shared variables

}  // namespace softgpu
