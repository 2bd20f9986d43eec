// Names in the braces where they are declared: registers, and the parameters of calls.
#pragma once

#include <deque>
#include <vector>

#include "registers.hpp"
#include "scanner.hpp"

namespace softgpu {

// A .param variable that is passed to a function, or that it returns: a register for each of its
// fields, since functions are inlined.
struct Passed {
    struct Field {
        s32 offset, bytes;
        Register held;
    };
    std::vector<Field> fields;
};

class Scopes {
  public:
    explicit Scopes(RegisterFile& file) : file(file) {}

    void open();
    void close();  // and release its registers

    // What follows .reg: .b32 %r<10>, %x
    void declare_registers(string_view declaration);
    void declare_passed(string_view name);
    void bind_passed(string_view name, Passed* to);

    // The register of a name, which has a place from its first use on; place -1: there is none.
    Register find(string_view name);
    Passed* find_passed(string_view name);
    // The field at an offset, of an access that moves this many bytes.
    Register field(Passed& passed, s32 offset, s32 bytes);

  private:
    struct Single {
        string_view name;
        Register held;
    };
    struct Family {  // %r<10>: %r0 ... %r9
        string_view prefix;
        char width;
        std::vector<s32> places;
    };
    struct Bound {
        string_view name;
        Passed* to;
    };
    struct Scope {
        std::vector<Single> singles;
        std::vector<Family> families;
        std::vector<Bound> bound;
        std::deque<Passed> passed;
    };

    RegisterFile& file;
    std::deque<Scope> scopes;
};

}  // namespace softgpu
