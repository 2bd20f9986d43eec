#include "scopes.hpp"

#include <algorithm>

#include "declarations.hpp"

namespace softgpu {
namespace {

struct Numbered {
    string_view prefix;
    size_t number;
    bool has_number;
};

// %rd12 in %rd and 12.
Numbered apart(string_view name) {
    size_t n = name.size();
    while (n > 0 && name[n - 1] >= '0' && name[n - 1] <= '9') n--;
    size_t number = 0;
    for (size_t i = n; i < name.size(); i++) number = number * 10 + size_t(name[i] - '0');
    return {name.substr(0, n), number, n < name.size()};
}

}  // namespace

void Scopes::open() {
    scopes.emplace_back();
}

void Scopes::close() {
    if (scopes.empty()) throw Unknown("a brace closes what is not open");
    Scope& scope = scopes.back();
    for (const Single& s : scope.singles)
        if (s.held.place >= 0) file.release(s.held);
    for (const Family& f : scope.families)
        for (const s32 place : f.places)
            if (place >= 0) file.release({place, f.width});
    for (const Passed& p : scope.passed)
        for (const Passed::Field& field : p.fields) file.release(field.held);
    scopes.pop_back();
}

void Scopes::declare_registers(string_view declaration) {
    Cursor at(declaration);
    const char width = width_of(at.directive());
    do {
        const string_view name = at.word();
        if (name.empty()) throw Unknown("no name of a register");
        if (at.take('<')) {
            const size_t count = size_t(integer(trimmed(at.until('>'))));
            scopes.back().families.push_back({name, width, std::vector<s32>(count, -1)});
        } else {
            scopes.back().singles.push_back({name, {-1, width}});
        }
    } while (at.take(','));
}

void Scopes::declare_passed(string_view name) {
    Scope& scope = scopes.back();
    scope.bound.push_back({name, &scope.passed.emplace_back()});
}

void Scopes::bind_passed(string_view name, Passed* to) {
    scopes.back().bound.push_back({name, to});
}

Register Scopes::find(string_view name) {
    const Numbered parts = apart(name);
    for (size_t i = scopes.size(); i-- > 0;) {
        for (Single& s : scopes[i].singles) {
            if (s.name != name) continue;
            if (s.held.place < 0) s.held = file.allocate(s.held.width);
            return s.held;
        }
        for (Family& f : scopes[i].families) {
            if (!parts.has_number || f.prefix != parts.prefix || parts.number >= f.places.size())
                continue;
            s32& place = f.places[parts.number];
            if (place < 0) place = file.allocate(f.width).place;
            return {place, f.width};
        }
    }
    return {};
}

Passed* Scopes::find_passed(string_view name) {
    for (size_t i = scopes.size(); i-- > 0;)
        for (const Bound& b : scopes[i].bound)
            if (b.name == name) return b.to;
    return nullptr;
}

Register Scopes::field(Passed& passed, s32 offset, s32 bytes) {
    for (const Passed::Field& f : passed.fields) {
        if (f.offset == offset && f.bytes == bytes) return f.held;
        if (f.offset < offset + bytes && offset < f.offset + f.bytes)
            throw Unknown("a parameter that is taken in other pieces than it is given");
    }
    const Register held = file.allocate(width_of_bytes(bytes));
    passed.fields.push_back({offset, bytes, held});
    return held;
}

}  // namespace softgpu
