// Graphs, which come from captures only, and the runtime's functions of them.
#include "runtime.hpp"
#include "streams.hpp"

namespace softgpu {

namespace {

struct Graph {
    std::vector<Work> works;
};

struct ExecutableGraph {
    std::vector<Work> works;
};

Handles<Graph>& graphs() {
    static auto& only = *new Handles<Graph>;
    return only;
}

Handles<ExecutableGraph>& executables() {
    static auto& only = *new Handles<ExecutableGraph>;
    return only;
}

constexpr Error wrong = Error::invalid_value;  // of a handle that is no graph's

int cudaStreamEndCapture(void* stream, void** graph) {
    *graph = nullptr;
    return guarded(
        [&] { *graph = graphs().add(std::make_shared<Graph>(Graph{end_capture(stream)})); });
}

int cudaGraphInstantiate(void** to, void* graph, u64) {
    return guarded([&] {
        const auto found = graphs().find(graph, "cudaGraphInstantiate", wrong);
        *to = executables().add(std::make_shared<ExecutableGraph>(ExecutableGraph{found->works}));
    });
}

int cudaGraphUpload(void* executable, void* stream) {
    return guarded([&] {
        executables().find(executable, "cudaGraphUpload", wrong);
        ready_stream(stream, "cudaGraphUpload");
    });
}

int cudaGraphLaunch(void* executable, void* stream) {
    return guarded([&] {
        const auto to = ready_stream(stream, "cudaGraphLaunch");
        const auto graph = executables().find(executable, "cudaGraphLaunch", wrong);
        for (const Work& work : graph->works) submit(*to, work);
    });
}

int cudaGraphDestroy(void* graph) {
    return guarded([&] { graphs().remove(graph, "cudaGraphDestroy", wrong); });
}

int cudaGraphExecDestroy(void* executable) {
    return guarded([&] { executables().remove(executable, "cudaGraphExecDestroy", wrong); });
}

}  // namespace

Functions runtime_graph_functions() {
    return {
        SOFTGPU_ENTRY(cudaStreamEndCapture), SOFTGPU_ENTRY(cudaGraphInstantiate),
        SOFTGPU_ENTRY(cudaGraphUpload),      SOFTGPU_ENTRY(cudaGraphLaunch),
        SOFTGPU_ENTRY(cudaGraphDestroy),     SOFTGPU_ENTRY(cudaGraphExecDestroy),
    };
}

}  // namespace softgpu
