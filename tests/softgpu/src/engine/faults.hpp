// What a kernel did that no kernel may do, in words.
#pragma once

#include <string>

#include "types.hpp"

namespace softgpu {

struct Machine;
struct Instruction;
struct Variable;

// End the launch with a message about the instruction that runs. Only the first one is kept.
[[gnu::format(printf, 3, 4)]] void fail(Machine& m, int lane, const char* format, ...);

// The same without a thread.
void fail_block(Machine& m, const std::string& what);

// The variable of shared memory that begins last at or before an address, or null.
const Variable* variable_before(const Machine& m, u64 address);

// "byte 20 of shared variable tile"
std::string shared_place(const Machine& m, u32 address);
// "byte 20 of argument 1"
std::string global_place(const Machine& m, u64 address);

// "gemm.cuh:120, in matmul.cu:41", or "" if the PTX does not say.
std::string source_lines(const Machine& m, const Instruction& instruction);

// The name of a kernel or a variable as the source has it, without what it takes and returns.
std::string demangled(const std::string& name);

// Where a block stands in the grid.
void block_index(const Machine& m, u32 number, u32 (&index)[3]);

}  // namespace softgpu
