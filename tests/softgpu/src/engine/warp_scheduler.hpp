// Runs one warp, whose lanes may have parted.
#pragma once

#include "machine.hpp"

namespace softgpu {

// Run a warp until its lanes have left or wait for the block, or for some number of instructions.
void run_warp(Machine& m, int number, s64 instructions);

// "gemm.cuh:120", or the statement if the PTX does not say the line.
std::string where(const Machine& m, s32 pc);

}  // namespace softgpu
