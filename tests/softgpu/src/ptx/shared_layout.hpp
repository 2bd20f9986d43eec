// Where the variables of a kernel lie in shared memory.
#pragma once

#include <vector>

#include "declarations.hpp"
#include "registers.hpp"

namespace softgpu {

class SharedLayout {
  public:
    explicit SharedLayout(RegisterFile& file) : file(file) {}

    // A constant register with the address of a variable, plus an offset. Its value is known once
    // `finish` has laid out all variables that the kernel uses.
    Register address(const VariableDeclaration& variable, s64 offset, char width);

    // Lay out what has been asked for, and set the registers.
    void finish(Program& program);

  private:
    struct Used {
        VariableDeclaration declared;
        u64 at = 0;
    };
    struct Pointer {
        string_view variable;
        s64 offset;
        Register held;
    };

    RegisterFile& file;
    std::vector<Used> used;
    std::vector<Pointer> pointers;
};

}  // namespace softgpu
