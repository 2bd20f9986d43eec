// Declarations in PTX: types, parameters, variables.
#pragma once

#include <string_view>
#include <vector>

#include "engine/program.hpp"
#include "scanner.hpp"

namespace softgpu {

// Bytes of a type in memory, as 4 for "f32".
int bytes_of(string_view type);

// How wide a register is, as Operation::widths says it: p a predicate, h 2 bytes, w 4, d 8, q 16.
char width_of_bytes(int bytes);
// Of a register that holds a type: at least 2 bytes.
char width_of(string_view type);
int bytes_of_width(char width);

u64 aligned(u64 offset, u64 alignment);

// A parameter of a kernel or of a function, or a .param variable that is passed to a function.
struct ParameterDeclaration {
    string_view name;
    s32 size = 0, alignment = 1;
};

// Of a list: ".param .u64 a, .param .align 8 .b8 b[32]".
std::vector<ParameterDeclaration> declared_parameters(string_view list);

// The places of a kernel's parameters, in their order, each aligned as it asks; and all their
// bytes.
s32 lay_out(const std::vector<ParameterDeclaration>& declared, std::vector<Parameter>& laid_out);

// A variable in .shared, .global, .const or .local.
struct VariableDeclaration {
    string_view space;  // without the dot
    string_view name, type;
    u64 bytes = 0;
    u64 alignment = 1;
    bool is_dynamic = false;  // an array without a size
    string_view initial;      // what stands behind =
};

VariableDeclaration declared_variable(string_view statement);

// Of ".maxntid 256, 1, 1 .minnctapersm 2": the threads that a block may have.
s32 most_threads(string_view directives);

}  // namespace softgpu
