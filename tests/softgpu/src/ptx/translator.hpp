// The translation of an entry while it is made: what the files translate_*.cpp share.
#pragma once

#include <array>
#include <unordered_map>
#include <vector>

#include "engine/operations.hpp"
#include "scopes.hpp"
#include "shared_layout.hpp"
#include "source_lines.hpp"
#include "translate.hpp"

namespace softgpu {

// Registers of an instruction, in the order of Instruction::arg.
struct Arguments {
    std::array<s32, 14> place;
    int count = 0;

    Arguments() { place.fill(-1); }
    Arguments(std::initializer_list<s32> places) : Arguments() {
        for (const s32 p : places) add(p);
    }
    void add(s32 p) {
        if (count == int(place.size())) throw Unknown("more operands than an instruction has");
        place[count++] = p;
    }
};

class Translator {
  public:
    using Variables = std::map<std::string, GlobalVariable>;
    Translator(const ModuleText& module, const Variables& variables)
        : module(module), variables(variables) {}

    Program translate(const FunctionText& entry);

  private:
    // An entry, or a function where it is called.
    struct Frame {
        const FunctionText& function;
        SourceLines lines;
        std::unordered_map<string_view, s32> labels;
        std::unordered_map<string_view, std::vector<string_view>> tables;  // .branchtargets
        struct Jump {
            size_t instruction;
            string_view label;
        };
        std::vector<Jump> jumps;
        std::vector<size_t> returns;  // instructions that jump to the end
    };
    struct Guard {
        s32 place = -1;
        bool negated = false;
    };
    struct LocalVariable {
        string_view name;
        u64 offset;
    };

    // Bodies and statements (translate.cpp)
    void body(Frame& of);
    void statement(string_view text);
    void declare(string_view statement);
    void declare_variable(string_view statement);
    void instruction(string_view text);
    void plain();
    void without_effect();
    void fence();
    const Operation& operation(string_view name);
    Instruction& put(string_view name, const Arguments& arguments);
    Instruction& put(const Operation& operation, const Arguments& arguments);

    // Control (translate_control.cpp)
    void branch();
    void branch_by_index();
    void leave();
    void call();
    void branch_targets(string_view name, string_view list);
    void resolve_jumps(Frame& of);
    void jump_to(string_view label);
    void block_barrier();

    // Memory (translate_memory.cpp)
    void load();
    void store();
    void load_parameter();
    void move_field(string_view address, string_view value, bool loading);
    void atomic();
    void copy();
    void load_matrix();
    Instruction& access(string_view name, string_view place, string_view value, bool loading);

    // Instructions whose operands differ from those of plain ones (translate_special.cpp)
    void compare();
    void move();
    void take_apart(s32 value, const string_view* pieces, int count, int bytes);
    void put_together(s32 result, const string_view* pieces, int count, int bytes);
    void convert();
    void shuffle();
    void vote();
    void of_warp();
    void multiply_matrices();

    // Operands (translate_operands.cpp)
    s32 operand(string_view word, char width);
    bool is_register(string_view word);
    Register named(string_view word);
    Register special(string_view name);
    Register special(Special which, char width);
    Register symbol(string_view name, s64 offset, char width);
    s32 literal(string_view word, char width);
    s32 negated(string_view predicate);
    Register temporary(char width);
    s32 sink(char width);
    Address address(string_view word, Space space);
    const VariableDeclaration* shared_variable(string_view name) const;
    const LocalVariable* local_variable(string_view name) const;

    const ModuleText& module;
    const Variables& variables;
    Program program;
    RegisterFile file;
    Scopes scopes{file};
    SharedLayout shared{file};
    std::vector<VariableDeclaration> shared_variables;
    std::vector<LocalVariable> local_variables;
    u64 local_end = 0;
    std::vector<std::pair<string_view, Register>> specials;
    std::unordered_map<string_view, const Operation*> operations;  // that have been looked up
    std::array<s32, 256> sinks;
    std::vector<Register> temporaries;  // of the statements that are translated
    std::vector<Frame*> frames;         // the functions that stand in one another

    // The statement that is translated
    string_view current;
    string_view mnemonic;
    Words parts, operands;
    string_view operand_text;
    Guard guard;
    s32 statement_number = -1;  // in program.statements, once it has an instruction
    u32 used_bytes = ~0u;       // of the next load
};

}  // namespace softgpu
