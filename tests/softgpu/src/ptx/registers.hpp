// The registers of a warp, as a program's translation places them.
#pragma once

#include <array>
#include <unordered_map>
#include <vector>

#include "engine/types.hpp"

namespace softgpu {

// Where a register lies in the file, and its width (declarations.hpp).
struct Register {
    s32 place = -1;
    char width = 'w';
};

class RegisterFile {
  public:
    // A register that holds poison at first, or what another held that has been released.
    Register allocate(char width);
    // It may be given to others: its name is out of scope.
    void release(Register r);

    // A register that holds a number in every lane, and that nobody writes.
    Register constant(u64 value, char width);
    // One that nobody else has: its value is set later.
    Register own_constant(char width);
    void set(Register r, u64 value);
    // As a constant, but with a value for each lane.
    Register of_lanes(const std::array<u32, lanes>& values);

    // What the file holds at a thread's start.
    std::vector<u8>& bytes() { return file; }

  private:
    Register append(char width);

    std::vector<u8> file;
    std::array<std::vector<s32>, 256> released;  // by width
    std::array<std::unordered_map<u64, s32>, 256> constants;
};

}  // namespace softgpu
