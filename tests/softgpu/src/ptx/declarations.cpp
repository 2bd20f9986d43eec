#include "declarations.hpp"

#include <algorithm>

namespace softgpu {

int bytes_of(string_view type) {
    if (type == "pred") return 4;
    const size_t digits = type.find_first_of("0123456789");
    if (digits == string_view::npos) throw Unknown("no type: " + std::string(type));
    Cursor size(type.substr(digits));
    const int bits = int(size.number());
    return bits / 8 * (size.rest() == "x2" ? 2 : 1);
}

char width_of_bytes(int bytes) {
    switch (bytes) {
        case 1:
        case 2:
            return 'h';
        case 4:
            return 'w';
        case 8:
            return 'd';
        case 16:
            return 'q';
    }
    throw Unknown(text("no register has %d bytes", bytes));
}

char width_of(string_view type) {
    return type == "pred" ? 'p' : width_of_bytes(bytes_of(type));
}

int bytes_of_width(char width) {
    switch (width) {
        case 'h':
            return 2;
        case 'd':
            return 8;
        case 'q':
            return 16;
    }
    return 4;
}

u64 aligned(u64 offset, u64 alignment) {
    return (offset + alignment - 1) / alignment * alignment;
}

std::vector<ParameterDeclaration> declared_parameters(string_view list) {
    std::vector<ParameterDeclaration> found;
    Cursor at(list);
    while (!at.at_end()) {
        if (!at.take(".param")) throw Unknown("a parameter that is none: " + one_line(at.rest()));
        ParameterDeclaration p;
        if (at.take(".align")) p.alignment = s32(at.number());
        p.size = bytes_of(at.directive());
        p.alignment = std::max(p.alignment, p.size);
        if (at.take(".ptr")) {  // says where a pointer points to, not where the parameter lies
            while (at.peek() == '.') {
                if (at.take(".align")) {
                    at.number();
                } else {
                    at.word();
                }
            }
        }
        p.name = at.word();
        if (at.take('[')) p.size *= s32(integer(trimmed(at.until(']'))));
        found.push_back(p);
        at.take(',');
    }
    return found;
}

s32 lay_out(const std::vector<ParameterDeclaration>& declared, std::vector<Parameter>& laid_out) {
    s32 end = 0;
    for (const ParameterDeclaration& p : declared) {
        const s32 offset = s32(aligned(end, p.alignment));
        laid_out.push_back({std::string(p.name), offset, p.size});
        end = offset + p.size;
    }
    return end;
}

VariableDeclaration declared_variable(string_view statement) {
    VariableDeclaration v;
    Cursor at(statement);
    while (at.peek() == '.') {
        const string_view word = at.directive();
        if (word == "visible" || word == "weak" || word == "extern" || word == "common") {
            continue;
        } else if (word == "attribute") {
            at.block('(', ')');
        } else if (word == "align") {
            v.alignment = u64(at.number());
        } else if (v.space.empty()) {
            v.space = word;
        } else {
            v.type = word;
            v.bytes = u64(bytes_of(word));
            v.alignment = std::max(v.alignment, v.bytes);
        }
    }
    v.name = at.word();
    if (v.type.empty() || v.name.empty())
        throw Unknown("no declaration of a variable: " + one_line(statement));
    while (at.take('[')) {
        const string_view count = trimmed(at.until(']'));
        v.is_dynamic |= count.empty();
        v.bytes *= count.empty() ? 0 : u64(integer(count));
    }
    if (at.take('=')) v.initial = trimmed(at.rest());
    return v;
}

s32 most_threads(string_view directives) {
    Cursor at(directives);
    while (!at.at_end()) {
        const string_view word = at.word();
        if (word == ".maxntid" || word == ".reqntid") {
            s64 threads = at.number();
            while (at.take(',')) threads *= at.number();
            return s32(threads);
        }
        if (word.empty()) at.until(' ');
    }
    return 1024;
}

}  // namespace softgpu
