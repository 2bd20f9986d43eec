#include "module_text.hpp"

namespace softgpu {
namespace {

// .file NUMBER "NAME"
void add_file(string_view line, std::vector<std::string>& files) {
    Cursor at(line);
    at.take(".file");
    const size_t number = size_t(at.number());
    at.until('"');
    string_view name = at.until('"');
    name.remove_prefix(name.rfind('/') + 1);
    if (number >= files.size()) files.resize(number + 1);
    files[number] = name;
}

// What stands between ".func" or ".entry" and the body.
FunctionText head_of(Cursor at, bool is_entry) {
    FunctionText f;
    f.is_entry = is_entry;
    while (at.peek() == '.') {  // .noreturn, .attribute(...)
        at.word();
        if (at.peek() == '(') at.block('(', ')');
    }
    if (at.peek() == '(') f.returns = at.block('(', ')');
    f.name = at.word();
    if (at.peek() == '(') f.parameters = at.block('(', ')');
    f.directives = at.rest();
    return f;
}

// Take what begins with .visible, .weak, .entry, .global, ...
void add_declaration(Cursor& at, ModuleText& parts) {
    const string_view rest = at.rest();
    const size_t length = rest.find_first_of(";{=");
    if (length == string_view::npos) throw Unknown("PTX that ends in " + one_line(rest));
    const string_view head = rest.substr(0, length);
    Cursor words(head);
    while (words.take(".visible") || words.take(".weak") || words.take(".extern") ||
           words.take(".common")) {
    }
    const bool is_entry = words.take(".entry");
    if (is_entry || words.take(".func")) {
        FunctionText function = head_of(words, is_entry);
        if (rest[length] == '{') {
            function.body = at.block('{', '}');
            parts.functions[function.name] = function;
        } else {
            at.until(';');
        }
        return;
    }
    const string_view statement = at.until(';');
    if (words.take(".pragma") || words.take(".alias")) return;
    parts.variables.push_back(declared_variable(statement));
}

}  // namespace

ModuleText parts_of(string_view text) {
    ModuleText parts;
    Cursor at(text);
    while (true) {
        while (at.take(';')) {
        }
        if (at.at_end()) return parts;
        if (at.take(".version") || at.take(".target") || at.take(".address_size")) {
            at.line();
        } else if (at.rest().starts_with(".file")) {
            add_file(at.line(), parts.files);
        } else if (at.take(".section")) {
            at.block('{', '}');
        } else {
            add_declaration(at, parts);
        }
    }
}

}  // namespace softgpu
